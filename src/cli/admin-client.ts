/** HTTP over the control plane's Unix socket. */
import { RingfenceError } from '../base/errors.ts'
import type {
  AgentsAnswer,
  ChangedAgent,
  DeletedAgent,
  DeleteOrder,
  ResumeOrder,
  SuspendOrder,
} from '../control/services/agents.ts'
import type { AuthoritiesAnswer, ChangedAuthority, RevokedAuthority } from '../control/services/authorities.ts'
import type { RefusalsAnswer, StatusAnswer } from '../control/services/proxies.ts'
import type {
  RestoredAnswer,
  RestoreOrder,
  RevocationsAnswer,
  RevokedAnswer,
  RevokeOrder,
} from '../control/services/revocations.ts'
import { controlSocketPath } from '../control/socket-path.ts'
import type { TrafficLine } from '../control/traffic.ts'
import { faultOfAnswer } from '../mesh/answer.ts'
import { request } from '../mesh/http.ts'
import type { PolicySnapshot } from '../mesh/pushed.ts'
import { forgetWitnessedPath, type WitnessedLog, witnessedPath } from '../mesh/witness.ts'

export interface MintAnswer {
  readonly spiffeId: string
  readonly certificatePem: string
  readonly keyPem: string
  readonly bundlePem: string
}

export interface IssuanceAnswer {
  readonly serial: string
  readonly spiffeId: string
  readonly reason: string
  readonly caller: string
  readonly issuedAtMs: number
  readonly notAfterMs: number
}

export interface NamesOrder {
  readonly ipAddresses?: readonly string[] | undefined
  readonly dnsNames?: readonly string[] | undefined
}

const answerTimeoutMs = 10_000

export class AdminClient {
  readonly #socketPath: string

  constructor(stateDir: string) {
    this.#socketPath = controlSocketPath(stateDir)
  }

  makeToken(
    order: NamesOrder & {
      spiffeId: string
      role: string
      ttlMs?: number | undefined
      listenerIdentities?: readonly string[] | undefined
    },
  ): Promise<{ token: string; expiresAtMs: number }> {
    return this.#call('POST', '/v1/tokens', order)
  }

  mint(order: NamesOrder & { spiffeId: string; ttlMs?: number | undefined }): Promise<MintAnswer> {
    return this.#call('POST', '/v1/x509', order)
  }

  issuances(limit: number): Promise<{ issuances: IssuanceAnswer[] }> {
    return this.#call('GET', `/v1/issuances?limit=${limit}`)
  }

  applyPolicy(source: string, fileName: string, dryRun: boolean): Promise<{ revision: number; applied: boolean }> {
    return this.#call('PUT', '/v1/policy', { source, fileName, dryRun })
  }

  policy(): Promise<PolicySnapshot> {
    return this.#call('GET', '/v1/policy')
  }

  status(): Promise<StatusAnswer> {
    return this.#call('GET', '/v1/status')
  }

  removeProxy(name: string): Promise<{ spiffeId: string }> {
    return this.#call('POST', '/v1/proxies/remove', { name })
  }

  agents(limit: number): Promise<AgentsAnswer> {
    return this.#call('GET', `/v1/agents?limit=${limit}`)
  }

  suspendAgent(order: SuspendOrder): Promise<ChangedAgent> {
    return this.#call('POST', '/v1/agents/suspend', order)
  }

  resumeAgent(order: ResumeOrder): Promise<ChangedAgent> {
    return this.#call('POST', '/v1/agents/resume', order)
  }

  deleteAgent(order: DeleteOrder): Promise<DeletedAgent> {
    return this.#call('POST', '/v1/agents/delete', order)
  }

  traffic(seconds: number): Promise<{ seconds: number; lines: TrafficLine[] }> {
    return this.#call('GET', `/v1/traffic?seconds=${seconds}`)
  }

  refusals(who: string): Promise<RefusalsAnswer> {
    return this.#call('GET', `/v1/refusals?who=${encodeURIComponent(who)}`)
  }

  revoke(order: RevokeOrder): Promise<RevokedAnswer> {
    return this.#call('POST', '/v1/revocations', order)
  }

  restore(order: RestoreOrder): Promise<RestoredAnswer> {
    return this.#call('POST', '/v1/revocations/restore', order)
  }

  revocations(ended: boolean, limit: number): Promise<RevocationsAnswer> {
    return this.#call('GET', `/v1/revocations?ended=${ended}&limit=${limit}`)
  }

  witnessed(): Promise<{ witness: string; logs: WitnessedLog[] }> {
    return this.#call('GET', witnessedPath)
  }

  forgetWitnessed(order: { origin: string; by?: string }): Promise<{ size: number }> {
    return this.#call('POST', forgetWitnessedPath, order)
  }

  authorities(): Promise<AuthoritiesAnswer> {
    return this.#call('GET', '/v1/ca')
  }

  prepareAuthority(order: { kind: string; by?: string }): Promise<ChangedAuthority> {
    return this.#call('POST', '/v1/ca/prepare', order)
  }

  requestIssuing(order: { by?: string }): Promise<{ requestPem: string }> {
    return this.#call('POST', '/v1/ca/request', order)
  }

  importIssuing(order: { certificatePem: string; by?: string }): Promise<ChangedAuthority> {
    return this.#call('POST', '/v1/ca/import', order)
  }

  forgetRootKey(order: { id: string; by?: string }): Promise<ChangedAuthority> {
    return this.#call('POST', '/v1/ca/forget-root-key', order)
  }

  activateAuthority(order: { kind: string; by?: string; force?: boolean }): Promise<ChangedAuthority> {
    return this.#call('POST', '/v1/ca/activate', order)
  }

  taintAuthority(order: { id: string; by?: string }): Promise<ChangedAuthority> {
    return this.#call('POST', '/v1/ca/taint', order)
  }

  revokeAuthority(order: { id: string; by?: string; reason?: string; force?: boolean }): Promise<RevokedAuthority> {
    return this.#call('POST', '/v1/ca/revoke', order)
  }

  bundle(): Promise<{ bundlePem: string; rootFingerprint: string }> {
    return this.#call('GET', '/v1/bundle')
  }

  /** The types are the server's own; both ends are one program. */
  #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const headers =
        text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      const sent = request(
        { socketPath: this.#socketPath, method, path, headers, timeout: answerTimeoutMs },
        (answer) => {
          const parts: Buffer[] = []
          answer.on('data', (part: Buffer) => parts.push(part))
          answer.on('error', reject)
          answer.on('end', () => {
            const answered = Buffer.concat(parts).toString('utf8')
            if (answer.statusCode === 200) resolve(JSON.parse(answered) as T)
            else reject(faultOfAnswer(answer.statusCode, answered))
          })
        },
      )
      sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
      sent.on('error', (cause) => {
        const message = `control plane does not answer at ${this.#socketPath}: ${cause.message}`
        reject(
          new RingfenceError('UNAVAILABLE', message, { cause, hint: 'is it running, and is --state-dir the same' }),
        )
      })
      sent.end(text)
    })
  }
}
