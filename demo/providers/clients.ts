/** The provider's clients, and where the cloud's issuer gives tokens: what both ends know. */

/** People's own tools: a public client, which comes back to any port of loopback. */
export const toolsClient = 'ringfence-cli'
/** The web application. */
export const shopClient = 'shop'
/** Of the cloud's issuer. */
export const tokenPath = '/web-identity-token'
export const audience = 'ringfence'
/** As short as the mesh's certificates in the demonstration, so that renewal is seen. */
export const tokenSeconds = 300
