/** The API behind the command line: HTTP over a Unix socket of mode 0600, so that who may open the file may administer. */
import { existsSync, lstatSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { fastify } from 'fastify'
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { listenerIdentitiesMax } from '../identity/certificate.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import type { PolicySnapshot } from '../mesh/pushed.ts'
import { agentRoles } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'
import type { CertificateAuthority } from './ca.ts'
import { type Enrolment, tokenTtlMsDefault } from './enrolment.ts'
import { answerErrors, parseBody } from './http.ts'
import { checkPolicyBytes, type Registry } from './registry.ts'
import type { Store } from './store.ts'

const ttlMs = z.number().positive()
const altNames = {
  ipAddresses: z.array(z.string()).max(16).default([]),
  dnsNames: z.array(z.string()).max(16).default([]),
}
const tokenOrder = z.strictObject({
  spiffeId: z.string(),
  role: z.enum(agentRoles),
  ttlMs: ttlMs.default(tokenTtlMsDefault),
  ...altNames,
  listenerIdentities: z.array(z.string()).max(listenerIdentitiesMax).default([]),
})
const mintOrder = z.strictObject({ spiffeId: z.string(), ttlMs: ttlMs.optional(), ...altNames })
const policyOrder = z.strictObject({
  source: z.string(),
  fileName: z.string().max(4096),
  dryRun: z.boolean().default(false),
})
const removeOrder = z.strictObject({ name: z.string().min(1).max(2048) })
const trafficQuery = z.object({ seconds: z.coerce.number().int().min(1).max(60).default(60) })
const issuancesQuery = z.object({ limit: z.coerce.number().int().min(1).max(10_000).default(100) })

/** `sun_path` has 108 bytes with its closing zero on Linux. */
const socketPathBytesMax = 107

export interface AdminParts {
  readonly socketPath: string
  readonly ca: CertificateAuthority
  readonly enrolment: Enrolment
  readonly registry: Registry
  readonly store: Store
  readonly svidTtlMs: number
  /** Throws RingfenceError CONFIG; a promise where it is found out beside the loop. */
  readonly validatePolicy: (source: string, fileName: string) => void | Promise<void>
  readonly instance: {
    readonly name: string
    readonly listen: string
    readonly startedMs: number
    readonly version: string
  }
  readonly log: Logger
}

export async function startAdminApi(parts: AdminParts): Promise<{ stop(): Promise<void> }> {
  const { registry, enrolment, store, ca, log } = parts
  // JSON may write one byte of policy as six.
  const server = fastify({ bodyLimit: 6 * limits.policyBytesMax + 4096, forceCloseConnections: true, logger: false })
  answerErrors(server, log)

  server.post('/v1/tokens', async (request) => {
    const order = parseBody(tokenOrder, request.body)
    const made = enrolment.makeToken({ ...order, spiffeId: parseSpiffeId(order.spiffeId) })
    const { spiffeId, role, listenerIdentities } = order
    log.info({ spiffeId, role, listenerIdentities, expiresAtMs: made.expiresAtMs }, 'join token made')
    return made
  })

  server.post('/v1/x509', async (request) => {
    const order = parseBody(mintOrder, request.body)
    const spiffeId = parseSpiffeId(order.spiffeId)
    log.info({ spiffeId }, 'certificate minted')
    return enrolment.mint({ ...order, spiffeId, ttlMs: order.ttlMs ?? parts.svidTtlMs })
  })

  server.get('/v1/policy', async (): Promise<PolicySnapshot> => registry.policy)

  server.put('/v1/policy', async (request) => {
    const { source, fileName, dryRun } = parseBody(policyOrder, request.body)
    checkPolicyBytes(source)
    await parts.validatePolicy(source, fileName)
    if (dryRun) return { revision: registry.policy.revision, applied: false }
    // A text that is in force already is made a new revision where proxies run another, so that they take it.
    if (source === registry.policy.source && registry.conflict === undefined)
      return { revision: registry.policy.revision, applied: false }
    const { revision } = registry.applyPolicy(source, fileName)
    log.info({ revision, fileName }, 'policy applied')
    return { revision, applied: true }
  })

  server.get('/v1/status', async () => ({
    control: {
      ...parts.instance,
      trustDomain: ca.trustDomain,
      svidTtlMs: parts.svidTtlMs,
      issuingNotAfterMs: ca.issuingNotAfterMs,
      rootNotAfterMs: ca.rootNotAfterMs,
    },
    policyRevision: registry.policy.revision,
    policyDigest: registry.policyDigest,
    policyConflict: registry.conflict,
    pushLatency: registry.pushLatency(),
    proxies: registry.status(),
    sidecars: registry.sidecars,
  }))

  server.post('/v1/proxies/remove', async (request) => {
    const spiffeId = registry.removeProxy(parseBody(removeOrder, request.body).name)
    log.info({ spiffeId }, 'proxy removed')
    return { spiffeId }
  })

  server.get('/v1/traffic', async (request) => {
    const { seconds } = parseBody(trafficQuery, request.query)
    return { seconds, lines: registry.traffic(seconds) }
  })

  server.get('/v1/issuances', async (request) => ({
    issuances: store.issuances(parseBody(issuancesQuery, request.query).limit),
  }))

  server.get('/v1/bundle', async () => ({ bundlePem: ca.bundlePem, rootFingerprint: ca.rootFingerprint }))

  await claimSocket(parts.socketPath)
  const before = process.umask(0o177)
  try {
    await server.listen({ path: parts.socketPath })
  } finally {
    process.umask(before)
  }
  return { stop: () => server.close() }
}

/** Removes a socket that a killed control plane left; a live one is left alone. */
async function claimSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new RingfenceError('CONFIG', `path of the admin socket is longer than ${socketPathBytesMax} bytes`, {
      hint: 'choose a shorter --state-dir',
    })
  }
  if (!existsSync(path)) return
  if (!lstatSync(path).isSocket()) throw new RingfenceError('CONFIG', `${path} is in the way and no socket`)
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.on('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
  if (alive) throw new RingfenceError('CONFIG', 'another control plane is running in this state folder')
  rmSync(path, { force: true })
}
