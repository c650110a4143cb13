/** The ways to prove who one is. A new one is a file beside this and its place in these lists. */
import { LogInRefused } from '../refusal.ts'
import { behalfByCertificate, behalfByPassword } from './behalf.ts'
import { bothOf } from './both.ts'
import { certificate } from './certificate.ts'
import { listener } from './listener.ts'
import { presigned } from './presigned.ts'
import type { Evidence, Proof } from './proof.ts'
import { askedOf, Conversation, Proofs } from './registry.ts'
import { token } from './token.ts'

/** Those that are asked for as a password. */
const byPassword = [token, presigned] as readonly Proof[]
const both = bothOf('both', certificate as Proof, byPassword)
const behalf = [
  behalfByCertificate('certificate-behalf', certificate as Proof),
  behalfByPassword('token-behalf', byPassword),
] as readonly Proof[]

export const proofs = new Proofs(certificate as Proof, listener as Proof, ...byPassword, both as Proof, ...behalf)

/** An answer with an authorization id is looked at first. */
const passwords = [behalf[1]!, ...byPassword].map(({ method }) => method)

/** `authentication` of a listener as one word, and the list that it stands for. */
export const listenerModes: Readonly<Record<string, readonly string[]>> = {
  certificate: [certificate.method],
  token: passwords,
  both: [both.method],
  either: [certificate.method, ...passwords],
  behalf: behalf.map(({ method }) => method),
}

/** What a client shows that gives this as its password, wherever it gives it. @throws LogInRefused for what is of no kind */
export function evidenceOfPassword(password: string): Evidence {
  const conversation = new Conversation(askedOf(byPassword), { certificates: [], listenerIdentity: undefined })
  const step = conversation.answer(Buffer.from(`\0token\0${password}`))
  if (Buffer.isBuffer(step)) throw new LogInRefused('not-supported', 'a log-in of several rounds')
  return step
}

/** The certificate that a connection showed as its own; undefined where the evidence is of another kind, or has none. */
export function ownCertificate(evidence: Evidence): Buffer | undefined {
  return evidence.kind === certificate.evidence.name ? evidence.chain[0] : undefined
}
