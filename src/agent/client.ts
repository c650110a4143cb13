/**
 * HTTPS to the control plane. The other end is the control plane when its certificate leads to our root and its DER carries an
 * id below /ringfence/control-plane/; host names play no part.
 */
import { X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import type { Socket } from 'node:net'
import {
  type ConnectionOptions,
  connect,
  type DetailedPeerCertificate,
  type PeerCertificate,
  TLSSocket,
} from 'node:tls'
import type { z } from 'zod'
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { transportFault, transportWords } from '../base/transport-fault.ts'
import { readLeaf, verifyPeer } from '../identity/certificate.ts'
import { verifyChain } from '../identity/chain.ts'
import { pathSegmentsOf, trustDomainOf } from '../identity/spiffe.ts'
import { faultOfAnswer, parseJson } from '../mesh/answer.ts'
import { skewHint } from '../mesh/clock-skew.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { type EnrolRequest, type IssuedCertificate, issuedCertificate } from '../mesh/enrolment.ts'
import { meshPaths } from '../mesh/roles.ts'

const answerTimeoutMs = 10_000
const answerBytesMax = 4 * 1024 * 1024

const socketsMax = 4

/** All its connections are to one control plane, whatever certificate they showed. */
class KeptAgent extends Agent {
  override getName(): string {
    return 'control plane'
  }
}

/**
 * HTTPS with the credentials in force. A connection for requests is kept when they are renewed: the control plane knows by it who calls, and
 * gave the new certificate to that very one. So a proxy goes on while strangers take all handshakes that the control plane can make. What the other kept
 * ones are refused, their certificate having ended, is sent again by one with the certificate in force.
 */
export class ControlClient {
  readonly #url: URL
  #leafDer: Buffer
  readonly #requests: Agent
  /** Each answer without end has a connection of its own. */
  readonly #streams: Agent

  constructor(controlUrl: string, credentials: Credentials, clock: Clock) {
    this.#url = new URL(controlUrl)
    this.#leafDer = credentials.leafDer
    const trustDomain = trustDomainOf(credentials.spiffeId)
    const options = {
      maxSockets: socketsMax,
      // A resumed session would skip the checks.
      maxCachedSessions: 0,
      minVersion: 'TLSv1.3',
      ...secretsOf(credentials),
      checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
        faultOfControlPlane(certificate.raw, clock.now(), trustDomain),
    } as const
    this.#requests = new KeptAgent({ ...options, keepAlive: true })
    this.#streams = new KeptAgent(options)
  }

  /** For connections from now on. Streams are the caller's to end. */
  setCredentials(credentials: Credentials): void {
    this.#leafDer = credentials.leafDer
    for (const agent of [this.#requests, this.#streams]) Object.assign(agent.options, secretsOf(credentials))
  }

  async post<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T> {
    const { status, text } = await this.exchange(path, JSON.stringify(body))
    return parseAnswer(status, text, schema)
  }

  /** POST of JSON; whatever is answered, a refusal too. Throws `UNAVAILABLE` only where there was no answer. */
  async exchange(path: string, json: string): Promise<{ status: number; text: string }> {
    // Each connection that refuses is closed (`#send`), so the last one is new.
    for (let kept = socketsMax; ; kept--) {
      const answer = await this.#send(this.#requests, 'POST', path, json)
      const { statusCode: status = 0, socket } = answer
      const isOfBefore = status === 403 && kept > 0 && !this.#showsPresent(socket)
      const text = await textOf(answer)
      if (!isOfBefore) return { status, text }
    }
  }

  /** False where it was opened with another certificate than the one in force. */
  #showsPresent(socket: Socket): boolean {
    const shown = socket instanceof TLSSocket ? socket.getX509Certificate() : undefined
    return shown === undefined || this.#leafDer.equals(shown.raw)
  }

  /** An answer that has no end; the caller reads it line by line and destroys it. */
  async stream(path: string): Promise<IncomingMessage> {
    const answer = await this.#send(this.#streams, 'GET', path, undefined)
    if (answer.statusCode !== 200) throw faultOfAnswer(answer.statusCode, await textOf(answer))
    return answer
  }

  close(): void {
    this.#requests.destroy()
    this.#streams.destroy()
  }

  #send(agent: Agent, method: string, path: string, body: string | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : bodyHeaders(body)
      const sent = request(new URL(path, this.#url), { method, headers, agent, timeout: answerTimeoutMs })
      sent.on('response', (answer) => {
        // It may be about the certificate that this connection was opened with: the next one shows the one in force.
        const { socket } = answer
        // Once the answer has ended it has no connection any more.
        if (answer.statusCode === 403) answer.once('end', () => socket.destroy())
        resolve(answer)
      })
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
      sent.on('error', (error) => reject(awayFault(this.#url, error)))
      sent.end(body)
    })
  }
}

/**
 * First contact: the chain that the control plane shows must end in a root whose SHA-256 the token carries; only then is the
 * token shown to it.
 * @throws RingfenceError IDENTITY, UNAVAILABLE
 */
export async function enrolWith(controlUrl: string, body: EnrolRequest, clock: Clock): Promise<IssuedCertificate> {
  const url = new URL(controlUrl)
  // Of each root that the mesh trusts: while a new one comes, of both.
  const fingerprints = body.token.split('.').slice(1)
  if (fingerprints.length === 0 || !fingerprints.every((one) => /^[0-9a-f]{64}$/.test(one))) {
    throw new RingfenceError('IDENTITY', 'not a join token', { hint: 'ringfence token generate makes one' })
  }
  // The chain is checked against the token's fingerprint below, before anything is sent.
  const socket = await connectOnce(url, { rejectUnauthorized: false })
  try {
    checkFirstContact(socket, fingerprints, clock.now())
    const { status, text } = await postOnce(socket, new URL('/v1/enrol', url), 'application/json', JSON.stringify(body))
    return parseAnswer(status, text, issuedCertificate)
  } finally {
    socket.destroy()
  }
}

/** One connection for one request. @throws RingfenceError UNAVAILABLE, and what `checkServerIdentity` gives */
export function connectOnce(url: URL, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const host = url.hostname.replace(/^\[|\]$/g, '')
    const socket = connect({ host, port: Number(url.port || 443), minVersion: 'TLSv1.3', ...options })
    const fail = (error: Error): void => {
      socket.destroy()
      reject(awayFault(url, error))
    }
    socket.setTimeout(limits.handshakeTimeoutMs, () => fail(new Error('no TLS handshake in time')))
    socket.once('error', fail)
    socket.once('secureConnect', () => {
      socket.off('error', fail)
      socket.setTimeout(0)
      resolve(socket)
    })
  })
}

/** The request that `socket` is for; whatever is answered, a refusal too. @throws RingfenceError UNAVAILABLE */
export async function postOnce(
  socket: TLSSocket,
  url: URL,
  type: string,
  body: string,
): Promise<{ status: number; text: string }> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { ...bodyHeaders(body, type), connection: 'close' }
    const sent = request(url, { method: 'POST', headers, createConnection: () => socket, timeout: answerTimeoutMs })
    sent.on('response', resolve)
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.on('error', (error) => reject(awayFault(url, error)))
    sent.end(body)
  })
  return { status: answer.statusCode ?? 0, text: await textOf(answer) }
}

function checkFirstContact(socket: TLSSocket, fingerprints: readonly string[], nowMs: number): void {
  const chain: Buffer[] = []
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true)
  while (certificate?.raw !== undefined && chain.length < 6) {
    chain.push(certificate.raw)
    const above: DetailedPeerCertificate | undefined = certificate.issuerCertificate
    certificate = above === certificate ? undefined : above
  }
  const [leafDer, ...others] = chain.filter((der, index) => chain.findIndex((other) => other.equals(der)) === index)
  const root = others.map((der) => new X509Certificate(der)).find((one) => fingerprints.includes(fingerprintOf(one)))
  if (leafDer === undefined || root === undefined) {
    throw new RingfenceError('IDENTITY', 'the control plane there is not the one that made this join token', {
      hint: 'check the address, and that the token is of this mesh',
    })
  }
  refuseDates(leafDer, nowMs)
  const intermediates = others.filter((der) => !der.equals(root.raw))
  verifyChain(leafDer, intermediates, root.toString(), nowMs)
  const fault = faultOfControlPlane(leafDer, nowMs)
  if (fault !== undefined) throw fault
}

/** The control plane renews its certificate, so it is rather a clock that is wrong. @throws RingfenceError IDENTITY */
function refuseDates(leafDer: Buffer, nowMs: number): void {
  const { notBeforeMs, notAfterMs } = readLeaf(leafDer)
  if (notBeforeMs <= nowMs && nowMs <= notAfterMs) return
  const isEarly = nowMs < notBeforeMs
  const seconds = Math.round((isEarly ? notBeforeMs - nowMs : nowMs - notAfterMs) / 1000)
  const what = isEarly ? `is not valid for ${seconds} s yet` : `has ended ${seconds} s ago`
  throw new RingfenceError('IDENTITY', `by the clock of this host the certificate of the control plane ${what}`, {
    hint: skewHint,
  })
}

function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase()
}

function secretsOf({ keyPem, certificatePem, bundlePem }: Credentials): { key: string; cert: string; ca: string } {
  return { key: keyPem, cert: certificatePem, ca: bundlePem }
}

/**
 * Of a certificate whose chain was verified.
 * @param trustDomain the one that the certificate names, where it is not known before
 */
export function faultOfControlPlane(der: Buffer, nowMs: number, trustDomain?: string): RingfenceError | undefined {
  try {
    const { spiffeId } = verifyPeer(der, nowMs, trustDomain ?? trustDomainOf(readLeaf(der).spiffeId))
    const [owner, part, , ...rest] = pathSegmentsOf(spiffeId)
    if (owner === 'ringfence' && part === meshPaths.controlPlane && rest.length === 0) return undefined
    return new RingfenceError('IDENTITY', `${spiffeId} is not a control plane`)
  } catch (error) {
    return RingfenceError.from(error, 'IDENTITY')
  }
}

function bodyHeaders(text: string, type = 'application/json'): Record<string, string | number> {
  return { 'content-type': type, 'content-length': Buffer.byteLength(text) }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of answer) {
    bytes += part.length
    if (bytes > answerBytesMax) throw new RingfenceError('UNAVAILABLE', 'answer of the control plane is too long')
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

function parseAnswer<T>(status: number, text: string, schema: z.ZodType<T>): T {
  if (status < 200 || status > 299) throw faultOfAnswer(status, text)
  const result = schema.safeParse(text === '' ? undefined : parseJson(text))
  if (!result.success) throw new RingfenceError('UNAVAILABLE', 'answer of the control plane is not understood')
  return result.data
}

function awayFault(url: URL, error: Error): RingfenceError {
  if (error instanceof RingfenceError) return error
  const fault = transportFault(error)
  return new RingfenceError('UNAVAILABLE', transportWords(`the control plane at ${url.host}`, error), {
    cause: error,
    hint: fault === undefined ? 'is it running, and is --control-url right' : fault.hint,
  })
}
