/** Words of kind `RateLimitPolicy` that are more than text. */

/** What is counted. `cost`: read and write units as Amazon Keyspaces has them. */
export const units = ['requests', 'rows', 'bytes', 'cost'] as const
export type Unit = (typeof units)[number]

/** Whom one rate is for, each by itself. */
export const scopes = ['total', 'perIdentity', 'perPerson', 'perAddress'] as const
export type Scope = (typeof scopes)[number]
