/** Which lines of the record are requests. Rule: every question and every population that counts requests counts these, by these conditions. */

/** The ends of a session, and the wish to hear of events, ask for nothing. */
const isRequest = `event IS NULL AND coalesce(operation, '') NOT IN ('CONNECT', 'DISCONNECT', 'REGISTER')`

/** A statement that was prepared is no access yet, unless it was refused. */
export const isAccess = `${isRequest} AND (verdict = 'deny' OR request IS DISTINCT FROM 'PREPARE')`
