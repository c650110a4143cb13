/**
 * Certificates for a token that somebody else made (RFC 8693), the first one and each later one.
 *
 * Rule: a token is shown to the control plane of the given roots only, and is in no log and no error.
 */
import type { PeerCertificate } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { sha256Hex } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import { unverifiedClaims } from '../identity/jwt/verify.ts'
import { parseJson } from '../mesh/answer.ts'
import { type Credentials, credentialsOf, makeKey } from '../mesh/credentials.ts'
import {
  certificateType,
  type ExchangeAnswer,
  exchangeAnswer,
  exchangeFault,
  exchangeGrant,
  exchangePath,
  typeOfToken,
} from '../mesh/exchange.ts'
import { connectOnce, faultOfControlPlane, postOnce } from './client.ts'

export interface TokenSource {
  /** Read anew at each exchange. */
  readonly token: () => Promise<string>
  /** Roots by which the control plane is known, PEM. */
  readonly trustBundlePem: () => string
}

/** A certificate ends with its token, but for the part of a second that certificates do not know. */
const sameEndMs = 2_000
const formType = 'application/x-www-form-urlencoded'

export interface Exchanging {
  readonly controlUrl: string
  readonly clock: Clock
}

export interface Fresh {
  readonly credentials: Credentials
  /** Of its roots; an older control plane gives none. */
  readonly bundleSequence: number | undefined
  /** The control plane's clock, where it says it. */
  readonly nowMs?: number | undefined
}

export class Exchange {
  readonly #source: TokenSource
  readonly #options: Exchanging
  /** SHA-256 of the token that was exchanged last. */
  #exchanged: string | undefined

  constructor(source: TokenSource, options: Exchanging) {
    this.#source = source
    this.#options = options
  }

  /**
   * @param present those in force
   * @throws RingfenceError IDENTITY where the token is refused; UNAVAILABLE, OVERLOADED
   */
  async credentials(present: Credentials | undefined): Promise<Fresh & { nowMs: number }> {
    const { clock, controlUrl } = this.#options
    const token = await this.#source.token()
    const hash = sha256Hex(token)
    if (present !== undefined && hash === this.#exchanged && endsWith(token, present.notAfterMs)) {
      throw new RingfenceError('UNAVAILABLE', 'there is no newer token yet, and the certificate ends with this one')
    }
    const { keyPem, csrPem } = await makeKey()
    const form = new URLSearchParams({
      grant_type: exchangeGrant,
      subject_token: token,
      subject_token_type: typeOfToken(token),
      requested_token_type: certificateType,
      csr: csrPem,
    })
    const answer = await post(new URL(controlUrl), form.toString(), this.#source.trustBundlePem(), clock)
    this.#exchanged = hash
    const { access_token: certificatePem, bundle, bundle_sequence: bundleSequence, now_ms: nowMs } = answer
    return { credentials: credentialsOf(certificatePem, keyPem, bundle), bundleSequence, nowMs }
  }
}

function endsWith(token: string, notAfterMs: number): boolean {
  const { exp } = unverifiedClaims(token) ?? {}
  return typeof exp === 'number' && exp * 1000 - notAfterMs < sameEndMs
}

/** TLS verifies the chain, `faultOfControlPlane` who it is of: both before anything is sent. */
async function post(url: URL, form: string, ca: string, clock: Clock): Promise<ExchangeAnswer> {
  const socket = await connectOnce(url, {
    ca,
    checkServerIdentity: (_host: string, { raw }: PeerCertificate) => faultOfControlPlane(raw, clock.now()),
  })
  try {
    const { status, text } = await postOnce(socket, new URL(exchangePath, url), formType, form)
    return read(status, text)
  } finally {
    socket.destroy()
  }
}

function read(status: number, text: string): ExchangeAnswer {
  const body = parseJson(text)
  if (status === 200) {
    const answer = exchangeAnswer.safeParse(body)
    if (answer.success) return answer.data
    throw new RingfenceError('UNAVAILABLE', 'answer of the control plane is not understood')
  }
  const fault = exchangeFault.safeParse(body)
  if (!fault.success) throw new RingfenceError('UNAVAILABLE', `control plane answered ${status}`)
  const { error, error_description: words = error } = fault.data
  if (status === 429) throw new RingfenceError('OVERLOADED', words)
  if (status >= 500) throw new RingfenceError('UNAVAILABLE', words)
  throw new RingfenceError('IDENTITY', `the token gets no certificate: ${words}`, {
    hint: 'the control plane’s log says why: log-in refused',
  })
}
