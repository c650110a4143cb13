/**
 * `identity` answers one question: who is calling, and how do we know?
 *
 * The rule one must not break: a `VerifiedIdentity` is made only in this folder. It is made of bytes that were checked (a certificate's DER, a
 * signed passport, what a client answered) or of a listener's own configuration, and never of what somebody printed. No socket, no file, no
 * clock.
 *
 * This file: SPIFFE ids and the patterns that policy writes for them (spiffe/spiffe standards/SPIFFE-ID.md §2).
 */
import { RingfenceError } from '../base/errors.ts'

declare const spiffe: unique symbol

/** `spiffe://<trust domain>/<path>` that was checked by `parseSpiffeId`. */
export type SpiffeId = string & { readonly [spiffe]: true }

const spiffeIdBytesMax = 2048
const trustDomainBytesMax = 255
const trustDomainShape = /^[a-z0-9._-]+$/
const segmentShape = /^[A-Za-z0-9._-]+$/
const prefix = 'spiffe://'

/**
 * Checks a SPIFFE id of a workload: trust domain of at most 255 bytes, a path of at least one segment, at most 2048 bytes in
 * all; no query, fragment, port, user, escape, dot segment or trailing slash.
 * @throws RingfenceError IDENTITY
 */
export function parseSpiffeId(text: string): SpiffeId {
  const fault = spiffeIdFault(text)
  if (fault !== undefined)
    throw new RingfenceError('IDENTITY', fault, {
      hint: 'spiffe://<trust domain>/<path>, e.g. spiffe://demo.local/svc/orders',
    })
  return text as SpiffeId
}

/** The trust domain, without scheme. */
export function trustDomainOf(id: SpiffeId): string {
  return id.slice(prefix.length, id.indexOf('/', prefix.length))
}

/**
 * Why an id or a pattern can never be anybody of this mesh; undefined where it can.
 * @param federated trust domains of which a JWT-SVID logs in here
 */
export function foreignFault(text: string, trustDomain: string, federated: readonly string[]): string | undefined {
  if ([trustDomain, ...federated].some((domain) => text.startsWith(`${prefix}${domain}/`))) return undefined
  const shown = JSON.stringify(text.slice(0, 128))
  return `${shown} is of another trust domain than this mesh, which is ${trustDomain}, so it can never match`
}

/** The path's segments: `spiffe://d/svc/orders` gives `['svc', 'orders']`. */
export function pathSegmentsOf(id: SpiffeId): string[] {
  return id.slice(id.indexOf('/', prefix.length) + 1).split('/')
}

/**
 * The person behind an id of the form `/user/<identity provider>/<subject>`, written `<identity provider>/<subject>`;
 * `undefined` for a workload. The subject is as `userIdOf` was given it.
 */
export function personOf(id: SpiffeId): string | undefined {
  const [kind, provider, subject, ...rest] = pathSegmentsOf(id)
  return kind === 'user' && provider !== undefined && subject !== undefined && rest.length === 0
    ? `${provider}/${unescaped(subject)}`
    : undefined
}

/**
 * The id of a person without a workload. What a path may not have is written as `_x` and two hexadecimal digits for each byte of UTF-8, so
 * that no two subjects have one id: `a@b.c` is `a_x40b.c`, and an `_x` itself `_x5fx`.
 * @throws RingfenceError IDENTITY where the subject is empty or too long
 */
export function userIdOf(trustDomain: string, provider: string, subject: string): SpiffeId {
  return parseSpiffeId(`${prefix}${trustDomain}/user/${provider}/${segmentOf(subject)}`)
}

/** A name of somebody else's as one segment of a path; no two names become one. */
export function segmentOf(name: string): string {
  const text = name.replace(/_(?=x)|[^A-Za-z0-9._-]/gu, escapedCharacter)
  // `.` and `..` mean other places.
  return /^\.\.?$/.test(text) ? text.replace(/\./g, '_x2e') : text
}

function escapedCharacter(character: string): string {
  return Buffer.from(character).toString('hex').replace(/../g, '_x$&')
}

/** What is not written as `segmentOf` writes it stands for itself. */
function unescaped(segment: string): string {
  if (!segment.includes('_x')) return segment
  const bytes = segment.replace(/_x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  const text = Buffer.from(bytes, 'latin1').toString('utf8')
  return segmentOf(text) === segment ? text : segment
}

/** Ids below `/ringfence/` belong to the mesh's own parts and are never given to a workload. */
export function isReserved(id: SpiffeId): boolean {
  return pathSegmentsOf(id)[0] === 'ringfence'
}

/** A trust domain as an operator writes it, without scheme. @throws RingfenceError CONFIG */
export function parseTrustDomain(text: string): string {
  if (text.length === 0 || text.length > trustDomainBytesMax || !trustDomainShape.test(text)) {
    throw new RingfenceError('CONFIG', `not a trust domain: ${JSON.stringify(text.slice(0, 64))}`, {
      hint: 'lower-case letters, digits, dot, dash and underscore, at most 255',
    })
  }
  return text
}

/**
 * Checks a pattern as policy writes it: an id in which a whole segment may be `*` (any one segment), and the last segment `*`
 * means any deeper path. The trust domain is always literal.
 * @throws RingfenceError IDENTITY
 */
export function parseSpiffePattern(text: string): string {
  // A star stands for a whole segment, so an ordinary segment in its place must give a valid id.
  const example = text.replace(/(?<=\/)\*(?=\/|$)/g, 'x')
  const fault = spiffeIdFault(example)
  if (fault !== undefined || text.startsWith(`${prefix}*`)) {
    throw new RingfenceError('IDENTITY', `not a pattern of SPIFFE ids: ${JSON.stringify(text.slice(0, 128))}`, {
      hint: 'an id, with * for one whole segment; a last segment * means any deeper path',
    })
  }
  return text
}

/**
 * Segment by segment: a last segment `*` takes one or more segments, so `spiffe://d/ns/a/*` matches `spiffe://d/ns/a/b` and
 * `spiffe://d/ns/a/b/c`, never `spiffe://d/ns/a` or `spiffe://d/ns/ab/c`; a `*` before the last takes exactly one segment.
 */
export function matchesSpiffePattern(pattern: string, id: SpiffeId): boolean {
  return pattern.includes('*') ? matchesSegments(segmentsOf(pattern), segmentsOf(id)) : pattern === id
}

/** Of an id or a pattern, in the form that `matchesSegments` takes. */
export function segmentsOf(text: string): readonly string[] {
  return text.split('/')
}

/** As `matchesSpiffePattern`, where one is compared with many. */
export function matchesSegments(wanted: readonly string[], given: readonly string[]): boolean {
  const last = wanted.length - 1
  for (let i = 0; i < last; i++) {
    const want = wanted[i]
    const have = given[i]
    if (have === undefined) return false
    // Segments 0 to 2 are scheme, nothing and trust domain: there a star would be an ordinary, impossible character.
    if (want !== have && !(want === '*' && i > 2)) return false
  }
  if (wanted[last] === '*' && last > 2) return given.length >= wanted.length
  return given.length === wanted.length && wanted[last] === given[last]
}

function spiffeIdFault(text: string): string | undefined {
  const shown = (): string => JSON.stringify(text.slice(0, 128))
  if (Buffer.byteLength(text) > spiffeIdBytesMax) return `SPIFFE id is longer than ${spiffeIdBytesMax} bytes`
  if (!text.startsWith(prefix)) return `not a SPIFFE id: ${shown()}`
  const [trustDomain = '', ...segments] = text.slice(prefix.length).split('/')
  if (trustDomain.length > trustDomainBytesMax) return `trust domain is longer than ${trustDomainBytesMax} bytes`
  if (!trustDomainShape.test(trustDomain)) return `trust domain of ${shown()} has characters that are not allowed`
  if (segments.length === 0) return `SPIFFE id ${shown()} has no path`
  for (const segment of segments) {
    if (segment === '.' || segment === '..') return `path of ${shown()} has a dot segment`
    if (!segmentShape.test(segment)) return `path of ${shown()} has an empty segment or characters that are not allowed`
  }
  return undefined
}
