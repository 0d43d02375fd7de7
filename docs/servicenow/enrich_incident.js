// Script include "TollgateEnricher", global scope, Client callable unchecked.
// Builds Tollgate's request for an incident and sends it through the REST message "Tollgate". The subscription's key is
// in an API Key credential, whose sys_id is in the system property tollgate.key_credential.
var TollgateEnricher = Class.create();
TollgateEnricher.prototype = {
    MESSAGE: 'Tollgate',
    FIELDS: ['number', 'short_description', 'description', 'category', 'subcategory', 'impact', 'urgency', 'priority',
        'assignment_group', 'cmdb_ci', 'close_code', 'close_notes', 'caller_id', 'opened_at', 'work_notes', 'comments'],
    TASKS: ['summary', 'classification', 'next_steps'],

    initialize: function() {},

    // Make a job; the outcome comes back as a work note. Returns the job's id, or '' where it was not accepted.
    startJob: function(incident) {
        var body = this._request(incident);
        body.callback = {
            url: gs.getProperty('glide.servlet.uri') + 'api/now/table/incident',
            kind: 'work-notes',
            auth: { kind: 'oauth2', secret: 'setting:SERVICENOW' },
            apply_patch: false
        };
        var response = this._send('create-job', body, this._key(incident), 10000);
        if (response === null || response.getStatusCode() !== 202) {
            return '';
        }
        return JSON.parse(response.getBody()).id;
    },

    // Ask and wait, at most 28 seconds. Returns the answer's object; null where there is none, or a job instead.
    enrichNow: function(incident) {
        var body = this._request(incident);
        body.mode = 'sync';
        var response = this._send('enrich-ticket', body, this._key(incident), 28000);
        if (response === null || response.getStatusCode() !== 200) {
            return null;
        }
        return JSON.parse(response.getBody());
    },

    _request: function(incident) {
        var ticket = { sys_id: incident.getUniqueValue(), sys_updated_on: incident.getValue('sys_updated_on') };
        for (var i = 0; i < this.FIELDS.length; i++) {
            var name = this.FIELDS[i];
            if (incident.isValidField(name)) {
                ticket[name] = this._text(incident, name);
            }
        }
        return { ticket: ticket, tasks: this.TASKS, choices: this._choices() };
    },

    // A journal's own element has no value when it is read; its entries come by getJournalEntry, -1 for all of them.
    _text: function(incident, name) {
        if (name === 'work_notes' || name === 'comments') {
            return incident[name].getJournalEntry(-1);
        }
        var value = incident.getValue(name) || '';
        var shown = incident.getDisplayValue(name) || '';
        return shown === value ? value : { display_value: shown, value: value };
    },

    _choices: function() {
        return {
            category: this._choiceList('category'),
            assignment_group: this._groups()
        };
    },

    _choiceList: function(element) {
        var list = [];
        var choice = new GlideRecord('sys_choice');
        choice.addQuery('name', 'incident');
        choice.addQuery('element', element);
        choice.addQuery('inactive', false);
        choice.addQuery('language', 'en');
        choice.query();
        while (choice.next()) {
            list.push({ display_value: choice.getValue('label'), value: choice.getValue('value') });
        }
        return list;
    },

    _groups: function() {
        var list = [];
        var group = new GlideRecord('sys_user_group');
        group.addActiveQuery();
        group.setLimit(500);
        group.query();
        while (group.next()) {
            list.push({ display_value: group.getValue('name'), value: group.getUniqueValue() });
        }
        return list;
    },

    // The same update of the same incident is enriched once, however often the rule runs.
    _key: function(incident) {
        return incident.getUniqueValue() + '-' + incident.getValue('sys_mod_count');
    },

    _apiKey: function() {
        var provider = new sn_cc.StandardCredentialsProvider();
        return String(provider.getCredentialByID(gs.getProperty('tollgate.key_credential')).getAttribute('api_key'));
    },

    _send: function(method, body, key, milliseconds) {
        try {
            var message = new sn_ws.RESTMessageV2(this.MESSAGE, method);
            message.setRequestHeader('Content-Type', 'application/json');
            message.setRequestHeader('api-key', this._apiKey());
            message.setRequestHeader('Idempotency-Key', key);
            message.setRequestHeader('x-correlation-id', body.ticket.sys_id);
            // Else `${...}` in a ticket's text would be taken for a variable of the REST message.
            message.disableForcedVariableSubstitution();
            message.setRequestBody(JSON.stringify(body));
            message.setHttpTimeout(milliseconds);
            var response = message.execute();
            if (response.haveError()) {
                gs.error('Tollgate: ' + response.getStatusCode() + ' ' + response.getErrorMessage());
            }
            return response;
        } catch (failure) {
            gs.error('Tollgate: ' + failure);
            return null;
        }
    },

    type: 'TollgateEnricher'
};
