/**
 * What stands behind a client connection: in a sidecar the enforced session, in a gateway the session on a mesh link.
 */
import type { ByteAccount } from '../base/bytes-budget.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import type { Evidence } from '../identity/proofs/proof.ts'
import type { Revocation } from '../identity/revoked/revocation.ts'
import type { VerifiedIdentity } from '../identity/verified.ts'

/** Where a connection comes from. */
export interface ClientAddresses {
  /** The client's own address, from the PROXY header where there is one. */
  readonly address: string
  readonly port: number
  /** The address that the client dialled, from the PROXY header where there is one. */
  readonly dialledAddress: string
  readonly dialledPort: number
}

/** Who is at the other end, known before the first request. */
export interface ClientInfo extends ClientAddresses {
  readonly identity: VerifiedIdentity
  /** What it showed: a gateway shows it to sidecars again. Undefined for the client of a mesh link, whose evidence goes no further. */
  readonly evidence: Evidence | undefined
}

/** How a client wants to hear of limits, by its STARTUP. */
export interface LimitAnswers {
  /** By an error of its own (`rateLimitError`), in the place of one that drivers of Cassandra know. */
  readonly rateLimitError: boolean
  /** At once, in the place of being made to wait (`THROW_ON_OVERLOAD`). */
  readonly throwOnOverload: boolean
}

export const noLimitAnswers: LimitAnswers = { rateLimitError: false, throwOnOverload: false }

/** What STARTUP said. `driverName` and `driverVersion` are claims, never identity. */
export interface StartupInfo {
  readonly version: ProtocolVersion
  readonly driverName: string | undefined
  readonly driverVersion: string | undefined
  readonly applicationName: string | undefined
  /** It reaches this address by `ringfence connect` and no other: it is to be told of no others. */
  readonly oneHost?: boolean
  readonly limitAnswers?: LimitAnswers
}

/** The client's side, as the backend sees it. */
export interface Client {
  readonly info: ClientInfo
  /** What waits for it, and may wait. */
  readonly account: ByteAccount
  /** Copies one answer; `stream` is the client's own. Ends the request. */
  answer(buffer: Buffer, start: number, end: number, stream: number): void
  /** Sends a whole envelope with stream −1. */
  event(buffer: Buffer, start: number, end: number): void
  /** Answers a request with a CQL error; ends the connection too where the fault asks for it. */
  fault(reason: unknown, stream: number): void
  /** Reads nothing more of it until its account has room. What was read already may still come. */
  pause(): void
  /** Reads nothing more of it until this is called with false, whatever its account has. */
  halt(halted: boolean): void
  /** Ends the connection: what waits is sent, nothing more is read. */
  close(reason: string): void
  /** Ends it when what is in flight was answered; what comes until then is refused, so that its driver asks elsewhere. */
  drain(reason: string): void
}

export interface Backend {
  /**
   * One whole QUERY, PREPARE, EXECUTE, BATCH or REGISTER, uncompressed, `buffer[start..end)`, borrowed for the call. May throw a
   * `RingfenceError`, which the connection answers.
   */
  request(buffer: Buffer, start: number, end: number): void
  /** The client takes no answers for now, or does again: more of them are not to come here. */
  pauseAnswers?(paused: boolean): void
  /** The client is thrown out: every request from now on is refused here. Without it they are refused at the door. */
  throwOut?(by: Revocation): void
  /** The client is gone. */
  close(): void
}

/** Opens what stands behind a client. `ready` or `failed` is called once, perhaps at once. */
export type OpenBackend = (
  client: Client,
  startup: StartupInfo,
  ready: () => void,
  failed: (reason: unknown) => void,
) => Backend
