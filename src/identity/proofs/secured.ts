/** What the methods in a record say of the client's own connection. Constants alone, for who reads a record without verifying anybody. */

/** The listener's identity stood for whoever came: nothing was proved. */
export const methodWithoutProof = 'listener'
/** Part of each method by which the client's connection was mutual TLS. */
export const methodByMutualTls = 'certificate'
