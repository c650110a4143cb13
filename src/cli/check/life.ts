/** How much of a certificate's life is left, and what breaks at its end. */
import { X509Certificate } from 'node:crypto'
import { formatDuration } from '../output.ts'
import { type Finding, failure, good, warning } from './finding.ts'

export interface Life {
  readonly category: string
  /** Whose certificate it is, at the begin of a sentence. */
  readonly what: string
  /** Undefined where only its end is known. */
  readonly lifeMs: number | undefined
  readonly notAfterMs: number
  /** What will be at its end, behind “then”. */
  readonly breaks: string
  /**
   * Nobody has to make the next one. What renews itself does so when half of its life is left, so that half is no news and a quarter is late.
   * All others are a warning from half of their life on.
   */
  readonly renewsItself: boolean
  /** What renews itself is late from this part of its life on: a quarter where it does not say. */
  readonly lateBelow?: number
  readonly hint: string
  /** A warning in any case where less is left. */
  readonly warnBelowMs?: number
}

/** A certificate of a mesh that lives as long as this, or shorter, is renewed by a program. */
const lifeByItselfMsMax = 25 * 60 * 60 * 1000
const parts = [
  [0.1, 'a tenth'],
  [0.25, 'a quarter'],
  [0.5, 'half'],
] as const

export function ofLife(life: Life, nowMs: number): Finding {
  const { category, what, lifeMs, notAfterMs, breaks, renewsItself, lateBelow = 0.25, hint, warnBelowMs = 0 } = life
  const leftMs = notAfterMs - nowMs
  const when = `${new Date(notAfterMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
  if (leftMs <= 0) return failure(category, `${what} has expired at ${when}: ${breaks}`, hint)
  const text = `${what} ends in ${formatDuration(leftMs)}`
  const [part, words] = parts.find(([of]) => lifeMs !== undefined && leftMs <= of * lifeMs) ?? [1, undefined]
  const isLate = lifeMs !== undefined && leftMs <= lateBelow * lifeMs
  const isBad = renewsItself ? isLate : part <= 0.5
  if (!isBad && leftMs > warnBelowMs) return good(category, text)
  const left = words === undefined ? '' : `, ${words} of its life is left or less`
  const told = `${text}${left}; at ${when} ${breaks}`
  return renewsItself && part <= 0.1 ? failure(category, told, hint) : warning(category, told, hint)
}

/** By a certificate itself. */
export function lifeOf(certificate: X509Certificate): Pick<Life, 'lifeMs' | 'notAfterMs' | 'renewsItself'> {
  const notAfterMs = certificate.validToDate.getTime()
  const lifeMs = notAfterMs - certificate.validFromDate.getTime()
  const isOfMesh = /(^|, )URI:spiffe:/.test(certificate.subjectAltName ?? '')
  return { lifeMs, notAfterMs, renewsItself: isOfMesh && lifeMs <= lifeByItselfMsMax }
}

/** Those of a text in PEM, in their order; what is none is left out. */
export function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)]
    } catch {
      return []
    }
  })
}
