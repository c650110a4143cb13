/**
 * What a failed connection means, in words of the one who has to mend it. OpenSSL and the system say what happened to them; this table
 * says what is likely wrong and what to do.
 */

export interface TransportFault {
  /** What the other side does, as the end of a sentence that begins with its name: "speaks plain text, not TLS". */
  readonly words: string
  readonly hint: string
}

const clocks = 'compare the clocks of both hosts (timedatectl): certificates live from minutes to hours'
const authorities = 'both must have certificates of one authority: ringfence bundle show prints the mesh’s'

/** By `code` of the error; Node.js gives OpenSSL's reason as ERR_SSL_<REASON>. */
const byCode: ReadonlyMap<string, TransportFault> = new Map([
  ...entries(
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'ERR_SSL_RECORD_LAYER_FAILURE'],
    'speaks plain text, not TLS',
    'client_encryption_options of Cassandra: enabled true, optional false; or is the port another program’s',
  ),
  ...entries(
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'],
    'wants a certificate, and was shown none',
    'give the client its certificate and key',
  ),
  ...entries(
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'ERR_SSL_TLS_ALERT_UNKNOWN_CA'],
    'does not trust the authority of our certificate',
    authorities,
  ),
  ...entries(
    [
      'ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN',
      'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN',
      'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
      'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE',
      'ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE',
      'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED',
    ],
    'refuses our certificate',
    `${authorities}; ${clocks}`,
  ),
  ...entries(
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', 'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED'],
    'says that our certificate has expired',
    clocks,
  ),
  ...entries(
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'ERR_SSL_UNSUPPORTED_PROTOCOL', 'ERR_SSL_TLS_ALERT_PROTOCOL_VERSION'],
    'does not speak TLS 1.3',
    'an old Java or OpenSSL there; every Cassandra 5 on JDK 11 or later speaks it',
  ),
  ...entries(
    ['ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE'],
    'shares no cipher or key type with us',
    'its certificate or its list of ciphers',
  ),
  ...entries(
    ['CERT_NOT_YET_VALID'],
    'shows a certificate that is not valid yet, so this host’s clock is behind or the other’s ahead',
    clocks,
  ),
  ...entries(
    ['CERT_HAS_EXPIRED'],
    'shows a certificate that has expired, so it was not renewed or a clock is off',
    `${clocks}; or renew that certificate`,
  ),
  ...entries(
    [
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'UNABLE_TO_GET_ISSUER_CERT',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'CERT_SIGNATURE_FAILURE',
    ],
    'shows a certificate that this mesh’s authority did not sign',
    authorities,
  ),
  ...entries(
    ['ECONNREFUSED'],
    'is not there: nothing listens at that address and port',
    'is it running, and is the port right',
  ),
  ...entries(
    ['EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EHOSTDOWN'],
    'cannot be reached over the network',
    'a route, a firewall, or the address',
  ),
  ...entries(['ENOTFOUND', 'EAI_AGAIN'], 'has a name that no name server knows', 'the name, or the name server'),
  ...entries(
    ['ECONNRESET', 'EPIPE', 'ECONNABORTED'],
    'ended the connection without a word',
    'its own log says why; behind a listener with the PROXY protocol only NGINX is taken',
  ),
])

function entries(codes: readonly string[], words: string, hint: string): [string, TransportFault][] {
  return codes.map((code) => [code, { words, hint }])
}

/** Undefined for what is not in the table; the error's own text is then all there is to say. */
export function transportFault(reason: unknown): TransportFault | undefined {
  const code = reason instanceof Error && 'code' in reason ? String(reason.code) : ''
  return byCode.get(code)
}

/** `<who> <words>`, with the system's own name of the error for who searches for it. */
export function transportWords(who: string, reason: unknown): string {
  const fault = transportFault(reason)
  if (fault === undefined) return `${who}: ${reason instanceof Error ? reason.message : String(reason)}`
  return `${who} ${fault.words} (${(reason as { code?: string }).code})`
}

/** Text and hint in one, for a log line. */
export function transportLine(who: string, reason: unknown): string {
  const hint = transportFault(reason)?.hint
  return hint === undefined ? transportWords(who, reason) : `${transportWords(who, reason)}; ${hint}`
}
