// Run once in Scripts - Background, global scope: makes the REST message "Tollgate" with its two methods.
// Credentials are not part of it: the script include sends the key from a credential record.
(function makeRestMessage() {
    var ENDPOINT = 'https://YOUR-APP.azurewebsites.net';

    var message = new GlideRecord('sys_rest_message');
    message.initialize();
    message.setValue('name', 'Tollgate');
    message.setValue('description', 'Enrichment of tickets');
    message.setValue('rest_endpoint', ENDPOINT);
    message.setValue('authentication_type', 'no_authentication');
    var parent = message.insert();

    addMethod('enrich-ticket', '/enrich');
    addMethod('create-job', '/jobs');

    function addMethod(name, path) {
        var method = new GlideRecord('sys_rest_message_fn');
        method.initialize();
        method.setValue('rest_message', parent);
        method.setValue('function_name', name);
        method.setValue('http_method', 'post');
        method.setValue('rest_endpoint', ENDPOINT + path);
        method.insert();
    }
})();
