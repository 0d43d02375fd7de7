// Runs a script of docs/servicenow in a made-up instance and prints what it did, as one line of JSON.
// Usage: node servicenow_instance.js FOLDER NAME; the situation is JSON on standard input.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [folder, name] = process.argv.slice(2);
const given = JSON.parse(fs.readFileSync(0, 'utf8'));
const seen = { requests: [], errors: [], warnings: [], messages: [], changes: [], inserted: [] };

function element(value) {
    return { getJournalEntry: (count) => (count === -1 ? value : ''), canWrite: () => true };
}

function record(columns) {
    const made = {
        getUniqueValue: () => columns.sys_id,
        getValue: (field) => (columns[field] === undefined ? null : columns[field].value || columns[field]),
        getDisplayValue: (field) => (columns[field] === undefined ? '' : columns[field].display_value || columns[field]),
        isValidField: (field) => columns[field] !== undefined,
        setValue: (field, value) => { columns[field] = value; seen.changes.push([field, value]); },
        update: () => seen.changes.push(['update', '']),
    };
    for (const field of Object.keys(columns)) {
        if (!(field in made)) {
            made[field] = element(columns[field]);
        }
    }
    return made;
}

class GlideRecord {
    constructor(table) { this.table = table; this.rows = (given.tables[table] || []).slice(); this.columns = {}; }
    addQuery() {}
    addActiveQuery() {}
    setLimit(limit) { this.rows = this.rows.slice(0, limit); }
    query() {}
    next() { this.columns = this.rows.shift(); return this.columns !== undefined; }
    get(sysId) {
        this.columns = (given.tables[this.table] || []).find((row) => row.sys_id === sysId);
        if (this.columns !== undefined) { Object.assign(this, record(this.columns)); }
        return this.columns !== undefined;
    }
    getValue(field) { return this.columns[field]; }
    getUniqueValue() { return this.columns.sys_id; }
    initialize() { this.columns = {}; }
    setValue(field, value) { this.columns[field] = value; }
    insert() { seen.inserted.push([this.table, this.columns]); return 'new'; }
}

class RESTMessageV2 {
    constructor(message, method) { this.request = { message, method, headers: {}, substitution: true }; }
    setRequestHeader(header, value) { this.request.headers[header] = value; }
    setRequestBody(body) { this.request.body = JSON.parse(body); }
    setHttpTimeout(milliseconds) { this.request.timeout = milliseconds; }
    disableForcedVariableSubstitution() { this.request.substitution = false; }
    execute() {
        seen.requests.push(this.request);
        if (given.answer === null) { throw new Error('connection timed out'); }
        return {
            getStatusCode: () => given.answer.status,
            getBody: () => JSON.stringify(given.answer.body),
            haveError: () => given.answer.status >= 400,
            getErrorMessage: () => 'refused',
        };
    }
}

const credential = { getAttribute: (attribute) => given.credentials[attribute] };
const world = {
    GlideRecord,
    GlideStringUtil: { base64Encode: (text) => Buffer.from(text).toString('base64'), escapeHTML: (text) => text },
    GlideCertificateEncryption: class {
        generateMac(key, algorithm, text) {
            if (algorithm !== 'HmacSHA256') { throw new Error(algorithm); }
            return crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
        }
    },
    Class: { create: () => function made() { this.initialize.apply(this, arguments); } },
    sn_ws: { RESTMessageV2 },
    sn_cc: { StandardCredentialsProvider: class { getCredentialByID() { return credential; } } },
    gs: {
        getProperty: (property) => (property === 'glide.servlet.uri' ? 'https://contoso.service-now.com/' : 'id'),
        error: (text) => seen.errors.push(text),
        warn: (text) => seen.warnings.push(text),
        addInfoMessage: (text) => seen.messages.push(text),
        addErrorMessage: (text) => seen.messages.push(text),
    },
    action: { setRedirectURL: () => {} },
    current: given.current ? record(given.current) : undefined,
    previous: null,
    inputs: given.inputs,
    outputs: {},
    request: given.request
        ? { body: { dataString: given.request.body }, getHeader: (header) => given.request.headers[header] }
        : undefined,
    response: { setStatus: (status) => { seen.status = status; } },
};

vm.createContext(world);
for (const file of ['enrich_incident.js', name]) {
    vm.runInContext(fs.readFileSync(path.join(folder, file), 'utf8'), world, { filename: file });
}
seen.outputs = world.outputs;
console.log(JSON.stringify(seen));
