// UI action "Suggest fields" on incident, server side (Client unchecked), Form button checked.
// Asks and waits; writes what Tollgate says may be written, and says the rest in a message.
(function suggestFields() {
    var answer = new TollgateEnricher().enrichNow(current);
    if (answer === null) {
        gs.addErrorMessage('No suggestions could be had in time; try again in a moment.');
        action.setRedirectURL(current);
        return;
    }
    for (var name in answer.patch) {
        if (current.isValidField(name) && current[name].canWrite()) {
            current.setValue(name, answer.patch[name]);
        }
    }
    var summary = answer.summary ? answer.summary.issue : '';
    if (summary !== '') {
        gs.addInfoMessage(GlideStringUtil.escapeHTML(summary));
    }
    current.update();
    action.setRedirectURL(current);
})();
