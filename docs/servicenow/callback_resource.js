// Scripted REST resource, POST /api/x_tollgate/callback/result, for callbacks of kind "result".
// Requires authentication; the caller is the user of the basic or OAuth credentials in the Tollgate setting.
// The signature is HMAC-SHA256 over "SECONDS.BODY" under CALLBACK_SIGNING_KEY, which a Basic Auth credential holds as its
// password; its sys_id is in the system property tollgate.signing_credential. The body is ASCII.
(function process(request, response) {
    var TOLERANCE_SECONDS = 300;
    var body = request.body.dataString;
    var told = String(request.getHeader('x-tollgate-signature') || '');
    var match = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(told);
    var age = match ? Math.abs(new Date().getTime() / 1000 - parseInt(match[1], 10)) : TOLERANCE_SECONDS + 1;
    if (age > TOLERANCE_SECONDS || !sameText(match[2], signatureOf(match[1] + '.' + body))) {
        response.setStatus(403);
        return;
    }
    var job = JSON.parse(body);
    // At least once: the same job may be told again, and must not undo then what an agent has changed since.
    var mark = 'Tollgate ' + job.id;
    if (job.status === 'succeeded' && job.result.sys_id) {
        var incident = new GlideRecord('incident');
        if (incident.get(job.result.sys_id) && incident.getValue('correlation_display') !== mark) {
            for (var name in job.result.patch) {
                incident.setValue(name, job.result.patch[name]);
            }
            incident.setValue('correlation_display', mark);
            incident.update();
        }
    }
    response.setStatus(204);

    function signatureOf(text) {
        var provider = new sn_cc.StandardCredentialsProvider();
        var key = String(provider.getCredentialByID(gs.getProperty('tollgate.signing_credential')).getAttribute('password'));
        var base64 = new GlideCertificateEncryption().generateMac(GlideStringUtil.base64Encode(key), 'HmacSHA256', text);
        return hexOf(base64);
    }

    function hexOf(base64) {
        var letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
        var bits = '';
        var hex = '';
        for (var i = 0; i < base64.length && base64.charAt(i) !== '='; i++) {
            bits += ('000000' + letters.indexOf(base64.charAt(i)).toString(2)).slice(-6);
        }
        for (var j = 0; j + 4 <= bits.length - (bits.length % 8); j += 4) {
            hex += parseInt(bits.substr(j, 4), 2).toString(16);
        }
        return hex;
    }

    function sameText(one, other) {
        var difference = one.length ^ other.length;
        for (var i = 0; i < one.length; i++) {
            difference |= one.charCodeAt(i) ^ other.charCodeAt(i % Math.max(other.length, 1));
        }
        return difference === 0;
    }
})(request, response);
