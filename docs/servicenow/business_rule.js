// Business rule on incident, When: async, Insert and Update.
// Filter conditions: Active is true, and (Short description changes, or Description changes); work notes do not set
// it off, so that a note of ours starts no job. It runs on a scheduler worker after the record was saved: nobody waits.
(function executeRule(current, previous) {
    var job = new TollgateEnricher().startJob(current);
    if (job === '') {
        gs.warn('Tollgate took no job for ' + current.getValue('number'));
    }
})(current, previous);
