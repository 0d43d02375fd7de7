// Script step of a Flow Designer action "Start a Tollgate job".
// Input variable: incident (Reference, incident). Output variable: job (String).
(function execute(inputs, outputs) {
    var incident = new GlideRecord('incident');
    if (incident.get(inputs.incident)) {
        outputs.job = new TollgateEnricher().startJob(incident);
    } else {
        outputs.job = '';
    }
})(inputs, outputs);
