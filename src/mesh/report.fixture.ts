/** Every field of a message at its bound, beyond it, and as what it is not. */
import type { ProxyReport } from './proxy-report.ts'

const sidecarId = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'

export const fullReport: ProxyReport = {
  policyRevision: 1,
  nowMs: 1_800_000_000_000,
  nodeAway: false,
  recordFailed: false,
  recordUncollected: 'the control plane is away',
  policyEpoch: 1_796_032_800,
  policyDigest: 'ab'.repeat(32),
  bundleSequence: 7,
  revocationsDigest: 'cd'.repeat(32),
  policyFault: 'revision 2: kind Novelty is not known',
  connections: 1,
  sessions: 2,
  upstreamConnections: 3,
  endpoint: { name: 'n1', spiffeId: sidecarId, address: '127.0.0.1', port: 9142, dataCenter: 'dc1', rack: 'r1' },
  advertise: [{ address: '127.0.0.1', port: 9042 }],
  dataCenter: 'dc1',
  rack: 'r1',
  draining: false,
  keysWanted: ['corp'],
  refusals: ['192.0.2.7', '192.0.2.8'].map((address) => ({
    cause: 'expired',
    words: 'the token expired 5 s ago',
    count: 2,
    firstMs: 1_800_000_000_000,
    lastMs: 1_800_000_001_000,
    listener: '10.0.0.21:9242',
    address,
    claimed: 'corp/alice',
    driver: 'DataStax Python Driver',
    gateway: 'spiffe://demo.local/ringfence/gateway/g1',
    session: '0123456789abcdef',
    provider: 'corp',
    issuer: 'https://login.example.com/realms/corp',
    tokenId: '5f1c',
    tokenHash: 'cd'.repeat(32),
  })),
  refusalsMissed: 3,
  listeners: [{ address: '127.0.0.1', port: 9142, tls: true, proxyProtocol: false }],
  traffic: ['SELECT', 'INSERT'].map((operation) => ({
    workload: 'spiffe://demo.local/svc/orders',
    person: 'ada',
    keyspace: 'shop',
    table: 'orders',
    operation,
    verdict: 'allow',
    rule: 'orders',
    count: 5,
    errors: 1,
    p50Micros: 100,
    p99Micros: 900,
    latency: [57, 4, 108, 1],
  })),
}

const lengths = [0, 1, 32, 64, 65, 128, 129, 255, 256, 257, 512, 513, 1024, 1025, 2048, 2049, 100_000]
const texts = lengths.flatMap((length) => ['x'.repeat(length), '😀'.repeat(length).slice(0, length)])
const others: readonly unknown[] = [
  ...texts,
  'a\u0000"\\\ud83d',
  null,
  true,
  -1,
  0.5,
  2 ** 53,
  1e300,
  Number.NaN,
  {},
  [],
  [[]],
  { a: {} },
]

export interface Variant {
  /** `traffic.0.table`; empty for the whole. */
  readonly path: string
  readonly value: unknown
  /** What stood there. */
  readonly before: unknown
  readonly report: unknown
}

/** The whole with one of its values, at every depth, replaced by each of `others`, or missing. */
export function* variantsOf(whole: unknown): Generator<Variant> {
  for (const keys of pathsOf(whole)) {
    const path = keys.join('.')
    const before = keys.reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], whole)
    for (const value of [...others, undefined]) yield { path, value, before, report: replaced(whole, keys, value) }
  }
}

function* pathsOf(value: unknown, path: string[] = []): Generator<string[]> {
  if (path.length > 0) yield path
  if (typeof value !== 'object' || value === null) return
  // One entry of a list stands for the others.
  const keys = Array.isArray(value) ? Object.keys(value).slice(0, 1) : Object.keys(value)
  for (const key of keys) yield* pathsOf((value as Record<string, unknown>)[key], [...path, key])
}

function replaced(whole: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value
  const below = replaced((whole as Record<string, unknown>)[key], rest, value)
  return Array.isArray(whole)
    ? whole.map((one, i) => (String(i) === key ? below : one))
    : { ...(whole as object), [key]: below }
}
