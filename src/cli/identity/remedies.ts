/** For each cause of a refused log-in: what it says, and what to do about it. */
import { type RefusalCause, refusalClasses } from '../../identity/refusal.ts'

export interface Remedy {
  readonly means: string
  readonly remedy: string
}

export const remedies: Readonly<Record<RefusalCause, Remedy>> = {
  'no-keys': {
    means: 'the identity provider has no keys here, or they are too old',
    remedy:
      'see the log of the control plane for why it cannot fetch them: issuer, DNS, TLS or firewall. Drivers try again by themselves',
  },
  'unknown-key': {
    means: 'the token is signed by a key that is not known here',
    remedy:
      'keys are fetched anew within 30 s, so try again. If it stays: the token is of another provider, or its key is no longer in use',
  },
  expired: {
    means: 'what was shown had ended before',
    remedy: 'give the driver a fresh token at each connection (docs/drivers.md); a person runs ringfence login',
  },
  'not-yet-valid': {
    means: 'what was shown is of a later time',
    remedy:
      'set the clocks of client, provider and proxy (NTP); ringfence check shows how far those of proxies are off',
  },
  replayed: {
    means: 'a pre-signed request was used from another address before',
    remedy: 'make another at each connection (ringfence aws-token), and never share one between hosts',
  },
  'verifier-away': {
    means: 'AWS STS or the Kubernetes API server did not answer',
    remedy: 'see whether the proxy can reach it. Drivers try again by themselves',
  },
  'too-many-attempts': {
    means: 'so many log-ins of the address, or of who is claimed, were refused before that this one was not looked at',
    remedy: 'see the cause of those before it, and stop the client that tries; then it passes within ten seconds',
  },
  malformed: {
    means: 'what was shown as password is nothing that is taken here',
    remedy: 'the password must be a token, or what ringfence aws-token prints: whole, in one line, without quotes',
  },
  'too-long': {
    means: 'the token is longer than a log-in may be',
    remedy: 'let the provider put fewer groups or claims into it (docs/limits.md, authMessageBytesMax)',
  },
  type: {
    means: 'the token is of another kind, such as an ID token in the place of an access token',
    remedy: 'show the kind that the IdentityProvider of the policy asks for (docs/identity)',
  },
  algorithm: {
    means: 'the token is signed by an algorithm that is not taken, such as none or HS256',
    remedy:
      'let the provider sign by one of the algorithms of the IdentityProvider. If it should be good already, somebody tried a forged one',
  },
  signature: {
    means: 'the signature is not good',
    remedy: 'get a new token. If it comes again: the token was changed on its way, or forged',
  },
  issuer: {
    means: 'no IdentityProvider of the policy takes who issued it',
    remedy: 'compare its issuer with that of the IdentityProvider: to the letter, a slash at the end too',
  },
  audience: {
    means: 'the token is for another audience',
    remedy: 'ask the provider for one of the audiences of the IdentityProvider, or add this one there',
  },
  'authorized-party': {
    means: 'the token was given to another client of the provider',
    remedy: 'add that client to the IdentityProvider, or log in by one that stands there',
  },
  lifetime: {
    means: 'the token lives longer than the IdentityProvider lets it, or does not say how long',
    remedy: 'let the provider make it shorter, or change the bound in the IdentityProvider',
  },
  claims: {
    means: 'a claim is missing, or says what it may not',
    remedy: 'the words name the claim; let the provider add it, or change claims of the IdentityProvider',
  },
  group: {
    means: 'none of the groups that may log in',
    remedy: 'add the person to one of allowedGroups at the provider, then log in anew',
  },
  'user-name': {
    means: 'the user name is not the one that the token is about',
    remedy: 'set the user name to "token", or to who the token is about',
  },
  account: {
    means: 'the account, organization or namespace may not log in here',
    remedy: 'add it to the IdentityProvider of the policy, if it should',
  },
  'not-supported': {
    means: 'the client used a way to log in that is not there',
    remedy:
      "with AWS's SigV4 plug-in: take it out, and use what ringfence aws-token prints as password (docs/identity/aws.md)",
  },
  certificate: {
    means: "the client's certificate is not good: expired, of an authority that is not known here, or no X.509-SVID",
    remedy: 'see that ringfence agent renews it, that the client reads its new file, and that the clock is right',
  },
  revoked: {
    means: 'who comes, or what it showed, was revoked',
    remedy:
      'the words have its number: ringfence identity revocations says by whom and why, ringfence identity restore ends it',
  },
  other: {
    means: 'no cause that has a word of its own',
    remedy: 'the words say it; the log of the proxy has the same (log-in refused)',
  },
}

/** A newer proxy may have causes that this program does not know. */
export function remedyOf(cause: string): Remedy {
  return Object.hasOwn(refusalClasses, cause)
    ? remedies[cause as RefusalCause]
    : { means: 'a cause that only a newer ringfence knows', remedy: 'see the log of the proxy (log-in refused)' }
}
