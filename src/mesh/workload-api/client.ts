/**
 * A client of a SPIFFE Workload API, such as that of SPIRE's agent: it follows one stream for as long as this process lives, and comes back when the
 * stream ends.
 *
 * Rules: who serves the socket is trusted with who we are, so there is no other transport than a Unix socket. Nothing of a message is in a log: it has keys.
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import type { Clock } from '../../base/clock.ts'
import { containOwnFault } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Logger } from '../../telemetry/log.ts'
import { Repeated } from '../../telemetry/repeated.ts'
import { workloadApiService, type X509BundlesResponse, type X509SvidResponse } from './messages.ts'

/** How long between two tries: full jitter below the greater of these, which doubles up to the last. */
const retryMsMin = 1_000
const retryMsMax = 30_000
const pingMs = 20_000
/** The name that the library makes a URL of; no host is looked up. */
const baseUrl = 'http://localhost'
const asked = { 'workload.spiffe.io': 'true' }

interface Answers {
  readonly fetchX509SVID: X509SvidResponse
  readonly fetchX509Bundles: X509BundlesResponse
}

interface Followed<C extends keyof Answers> {
  readonly call: C
  /** Of the Unix socket. */
  readonly socketPath: string
  /** Takes what is said. What it throws is told in the log, and the stream goes on. */
  readonly take: (answer: Answers[C]) => unknown
  /** Called with each reason why there is nothing to take. */
  readonly failed?: (fault: RingfenceError) => void
  readonly signal: AbortSignal
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
}

/** Resolves when `signal` is aborted. */
export async function followWorkloadApi<C extends keyof Answers>(followed: Followed<C>): Promise<void> {
  const { socketPath, signal, clock, random, log, failed } = followed
  const repeated = new Repeated(clock)
  const fail = (fault: RingfenceError, text: string): void => {
    failed?.(fault)
    const times = repeated.due(`${text}: ${fault.message}`)
    if (times !== undefined) log.warn({ socketPath, reason: fault.message, repeated: times }, text)
  }
  let failures = 0
  while (!signal.aborted) {
    try {
      for await (const answer of streamOf(followed)) {
        failures = 0
        try {
          await followed.take(answer)
          repeated.over()
        } catch (reason) {
          containOwnFault('an answer of a Workload API', reason)
          fail(RingfenceError.from(reason, 'IDENTITY'), 'what the Workload API gives is not taken')
        }
      }
      if (!signal.aborted) log.info({ socketPath }, 'the stream of the Workload API ended, asking again')
    } catch (reason) {
      containOwnFault('the stream of a Workload API', reason)
      if (signal.aborted) return
      fail(faultOf(reason, socketPath), 'the Workload API gives nothing, asking again')
    }
    await sleep(random() * Math.min(retryMsMax, retryMsMin * 2 ** failures), undefined, { signal }).catch(() => {})
    failures = Math.min(failures + 1, 10)
  }
}

/** By a connection of its own, which ends with it. */
async function* streamOf<C extends keyof Answers>({
  call,
  socketPath,
  signal,
}: Followed<C>): AsyncGenerator<Answers[C]> {
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: pingMs, pingTimeoutMs: pingMs },
    { createConnection: () => connect(socketPath) },
  )
  try {
    const transport = createGrpcTransport({ baseUrl, sessionManager, readMaxBytes: limits.workloadApiAnswerBytesMax })
    const client = createClient(workloadApiService, transport)
    const options = { headers: asked, signal }
    const answers = call === 'fetchX509SVID' ? client.fetchX509SVID({}, options) : client.fetchX509Bundles({}, options)
    yield* answers as AsyncIterable<Answers[C]>
  } finally {
    sessionManager.abort()
  }
}

function faultOf(reason: unknown, socketPath: string): RingfenceError {
  const { code, rawMessage } = ConnectError.from(reason)
  if (code === Code.PermissionDenied) {
    return new RingfenceError('IDENTITY', `the Workload API at ${socketPath} has no identity for this process`, {
      cause: reason,
      hint: 'is there an entry whose selectors this process has',
    })
  }
  return new RingfenceError('UNAVAILABLE', `the Workload API at ${socketPath} does not answer: ${rawMessage}`, {
    cause: reason,
    hint: 'is its agent running, and may this user open the socket',
  })
}
