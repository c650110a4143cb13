/** The ways to prove who one is. A new one is a file beside this and its place in this list. */
import { certificate } from './certificate.ts'
import { listener } from './listener.ts'
import { Proofs } from './registry.ts'

export const proofs = new Proofs(certificate, listener)
