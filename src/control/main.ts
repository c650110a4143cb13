/**
 * `control` is the control plane: certificate authority, enrolment, policy revisions, and what the proxies report.
 *
 * The rule one must not break: no request's path leads through here. Proxies go on without it until their certificates end, so
 * it may fail, and where its state is damaged it must refuse to start rather than begin anew.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openKey } from '../audit/sealed/log-key.ts'
import { Witness } from '../audit/sealed/witness.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { every, nothingEnds, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Outside, type OutsideCalls } from '../identity/outside/outside.ts'
import { Revocations } from '../identity/revoked/revocations.ts'
import { parseSpiffeId, parseTrustDomain } from '../identity/spiffe.ts'
import { type AdminAddress, adminPorts } from '../mesh/admin/address.ts'
import { startAdminServer } from '../mesh/admin/server.ts'
import { callsOutside } from '../mesh/call-out.ts'
import type { Observed } from '../mesh/observable.ts'
import { followedProviders } from '../mesh/providers.ts'
import { type PushedKinds, pushedKinds } from '../mesh/pushed.ts'
import type { PushedKind } from '../mesh/pushed-kind.ts'
import { validatePolicy as compilesOnThread } from '../policy/compiler.ts'
import { requireFreePorts } from '../session/free-ports.ts'
import { LogInRefusals } from '../session/refusals.ts'
import { logFaults } from '../telemetry/faults.ts'
import { createLogger, type Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { controlPages } from './admin.ts'
import { KnownSigners } from './authorities/known-signers.ts'
import type { AuthorityLives } from './authorities/lives.ts'
import { witnessKeyName } from './backup/content.ts'
import { refuseUnfinished } from './backup/unfinished.ts'
import { CertificateAuthority } from './ca.ts'
import { Collection } from './collection.ts'
import { checkAltNames, Enrolment } from './enrolment.ts'
import { type ServerIdentity, startHttpsServer } from './https-server.ts'
import { KeptUses } from './kept-uses.ts'
import type { FetchKeys } from './key-sets/fetch-keys.ts'
import { KeySets } from './key-sets/key-sets.ts'
import { SharedLimits } from './limit-shares.ts'
import { OwnCertificate } from './own-certificate.ts'
import { Publisher } from './publisher.ts'
import { RememberedRefusals } from './refused-log-ins.ts'
import { Registry } from './registry.ts'
import { meansSidecar, RevocationBook } from './revocation-book.ts'
import type { Route } from './route.ts'
import { controlRoutes } from './routes.ts'
import type { ControlParts } from './services/parts.ts'
import { controlSocketPath } from './socket-path.ts'
import { startSocketServer } from './socket-server.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { Store } from './store.ts'
import { TokenExchange } from './token-exchange.ts'
import { CallerBudgets } from './txn/caller-budgets.ts'
import { TxnKeys } from './txn/txn-keys.ts'

export interface ControlOptions {
  readonly stateDir: string
  /** Where proxies reach it; port 0 takes a free one. */
  readonly listen: { readonly address: string; readonly port: number }
  readonly trustDomain: string
  /** Life of the certificates it issues, milliseconds; 1 h by default. */
  readonly svidTtlMs?: number | undefined
  /** How long authorities live. */
  readonly authorityLives?: AuthorityLives | undefined
  /** Probes, metrics and what is in force, for this machine only. */
  readonly admin?: { readonly listen: AdminAddress; readonly profiling: boolean } | undefined
  /** Policy to apply at start where it differs from the revision in force. */
  readonly policy?: { readonly source: string; readonly fileName: string } | undefined
  readonly name?: string | undefined
  /** In its own certificate, for clients that check by which of them they called. Agents check its SPIFFE id. */
  readonly ipAddresses?: readonly string[] | undefined
  readonly dnsNames?: readonly string[] | undefined
  readonly version?: string | undefined
  readonly clock?: Clock
  /** SQLite in `stateDir` by default. @throws RingfenceError CONFIG where what is there cannot be used */
  readonly openStore?: (stateDir: string) => Store
  /** More that one can ask for, over socket and HTTPS. */
  readonly routes?: (parts: ControlParts) => readonly Route[]
  /** What is pushed to proxies; `allPushedKinds` by default. */
  readonly kinds?: PushedKinds
  readonly log?: Logger
  /** The socket of a Workload API whose roots of this trust domain are trusted, too. */
  readonly rootsFrom?: string | undefined
  /** How the keys of identity providers are fetched. */
  readonly fetchKeys?: FetchKeys
  /** How AWS STS and a Kubernetes API server are asked; those outside unless said otherwise. */
  readonly outside?: OutsideCalls
  /** Throws RingfenceError CONFIG; compiles it on a thread by default. */
  readonly validatePolicy?: (source: string, fileName: string, trustDomain: string) => void | Promise<void>
}

export interface ControlPlane {
  readonly address: string
  readonly port: number
  readonly url: string
  readonly socketPath: string
  /** A value that is pushed to proxies; what is set here is sent to the roles that it is for. */
  value<T>(kind: PushedKind<T>): Observed<T>
  stop(): Promise<void>
}

const svidTtlMsDefault = 60 * 60 * 1000
const svidTtlMsAdvisedMin = 5 * 60 * 1000
const svidTtlMsMin = 10_000
const svidTtlMsMax = 24 * 60 * 60 * 1000
const sweepIntervalMs = 1_000

/**
 * Starts the control plane of `stateDir`, making authority and store at the first start.
 * @throws RingfenceError CONFIG where state is damaged or options make no sense
 */
export async function startControl(options: ControlOptions): Promise<ControlPlane> {
  const { stateDir, clock = systemClock, log = createLogger('control'), validatePolicy = compilesOnThread } = options
  logFaults(log)
  const { ipAddresses = [], dnsNames = [] } = options
  checkAltNames({ ipAddresses, dnsNames }, 'control')
  const svidTtlMs = options.svidTtlMs ?? svidTtlMsDefault
  const trustDomain = parseTrustDomain(options.trustDomain)
  if (!(svidTtlMs >= svidTtlMsMin && svidTtlMs <= svidTtlMsMax)) {
    throw new RingfenceError('CONFIG', 'life of certificates is out of range', { hint: '--svid-ttl 5m to 24h' })
  }
  if (svidTtlMs < svidTtlMsAdvisedMin) log.warn({ svidTtlMs }, 'certificates live less than 5m: for tests only')
  await requireFreePorts([options.listen, ...adminPorts(options.admin?.listen)])
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  refuseUnfinished(stateDir)
  const store = (options.openStore ?? openSqliteStore)(stateDir)
  const closers: (() => unknown)[] = [() => store.close()]
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const lives = { ...options.authorityLives, leafMsMax: svidTtlMs }
    const ca = await CertificateAuthority.open(join(stateDir, 'ca'), trustDomain, clock, lives)
    const { rootsFrom } = options
    if (rootsFrom === undefined) await ca.keys.trustOutside([])
    const publisher = new Publisher(log, options.kinds)
    const tellAuthorities = (): unknown => publisher.value(pushedKinds.authorities).set(ca.keys.told)
    tellAuthorities()
    const registry = new Registry(store, clock, log, publisher)
    const { policies } = registry
    const book = new RevocationBook({ store, publisher, clock, log })
    const revocations = book.current
    const burntMs = book.sidecarRevokedMs
    if (burntMs !== undefined) registry.burnMeshKeys(burntMs)
    const keySets = new KeySets({
      policy: publisher.value(pushedKinds.policy),
      published: publisher.value(pushedKinds.keySets),
      clock,
      log,
      stateDir,
      ...(options.fetchKeys === undefined ? {} : { fetch: options.fetchKeys }),
    })
    const witness = new Witness(`ringfence.${trustDomain}/witness`, openKey(join(stateDir, witnessKeyName)))
    const collection = new Collection({
      directory: join(stateDir, 'collected'),
      witnessed: (origin) => store.witnessed(origin),
      log,
    })
    const txnKeys = new TxnKeys({ published: publisher.value(pushedKinds.txnKeys), clock, log, stateDir })
    const enrolment = new Enrolment(ca, store, clock, svidTtlMs, revocations)
    if (options.policy !== undefined && options.policy.source !== policies.current.source) {
      await validatePolicy(options.policy.source, options.policy.fileName, trustDomain)
      const { revision } = policies.apply(options.policy.source, options.policy.fileName)
      log.info({ revision, fileName: options.policy.fileName }, 'policy applied')
    }
    keySets.start()
    closers.push(() => keySets.stop())
    const providers = followedProviders((kind) => publisher.value(kind), new Outside(options.outside ?? callsOutside()))
    const logInRefusals = new LogInRefusals(log, () => clock.now())
    const sharedLimits = new SharedLimits(clock.now())
    const entriesMax = limits.presignedRememberedMax
    const presignedUses = new KeptUses({ store, nowMs: () => clock.now(), log, entriesMax })
    closers.push(() => presignedUses.stop())
    const exchange = new TokenExchange({
      enrolment,
      presignedUses,
      store,
      refusals: logInRefusals,
      trust: () => ({ trustDomain, bundlePem: ca.bundlePem, providers: providers.current, revocations }),
      wantKeys: () => keySets.want(providers.takeWanted()),
      clock,
      log,
    })
    const refusals = new RememberedRefusals(() => logInRefusals.takeRecent())
    const name = options.name ?? 'default'
    const spiffeId = parseSpiffeId(`spiffe://${trustDomain}/ringfence/control-plane/${name}`)
    const ownNames = { spiffeId, ttlMs: svidTtlMs, ipAddresses, dnsNames }
    const own = await OwnCertificate.first(() => ca.mint(ownNames), clock, log)
    const ownIdentity = (): ServerIdentity => {
      const { keyPem, certificatePem, rootPem, notAfterMs } = own.current
      return { keyPem, certificatePem: certificatePem + rootPem, bundlePem: ca.bundlePem, notAfterMs }
    }
    const { address } = options.listen
    let port = options.listen.port
    const parts: ControlParts = {
      ca,
      enrolment,
      exchange,
      registry,
      refusals,
      logInRefusals,
      keySets,
      txnKeys,
      txnBudgets: new CallerBudgets(clock),
      providers,
      revocations: book,
      presignedUses,
      sharedLimits,
      witness,
      collection,
      publisher,
      store,
      clock,
      log,
      svidTtlMs,
      validatePolicy: (source, fileName) => validatePolicy(source, fileName, trustDomain),
      instance: {
        name,
        startedMs: clock.now(),
        version: options.version ?? '0',
        get ownNotBeforeMs() {
          return own.current.notBeforeMs
        },
        get ownNotAfterMs() {
          return own.current.notAfterMs
        },
        // Which port it is shows when it listens.
        get listen() {
          return hostPort(address, port)
        },
      },
    }
    const routes = [...controlRoutes(parts), ...(options.routes?.(parts) ?? [])]
    const identity = ownIdentity()
    const signers = new KnownSigners(ca.keys, clock)
    const isSigner = (authority: string | undefined): boolean => signers.has(authority)
    const server = await startHttpsServer(
      { address, port, identity, trustDomain, revocations, isSigner, clock, log },
      routes,
    )
    book.onAdded(() => server.endRevoked())
    book.onAdded((added) => {
      const only = Revocations.of(added)
      registry.throwOut((spiffeId) => only.find({ subject: spiffeId }, clock.now()) !== undefined)
      if (added.some(meansSidecar)) registry.burnMeshKeys(clock.now())
    })
    closers.push(() => server.stop())
    const showOwn = (): void => server.replaceIdentity(ownIdentity())
    ca.keys.onChange(() => {
      tellAuthorities()
      const { bundleSequence, tainted } = ca.keys.told
      const active = ca.keys.shown().filter(({ state }) => state === 'active')
      log.info({ bundleSequence, active: active.map(({ id }) => id), tainted }, 'the authorities are others')
      // Other roots are trusted at once, and what another authority signs is shown as soon as it is made.
      showOwn()
      server.endRevoked()
      own.hurry(showOwn)
    })
    if (rootsFrom !== undefined) {
      // gRPC is loaded where somebody wants it.
      const { followRoots } = await import('./roots-from.ts')
      closers.push(followRoots({ socketPath: rootsFrom, trustDomain, keys: ca.keys, clock, log }))
    }
    port = server.port
    const listen = hostPort(address, port)
    const socketPath = controlSocketPath(stateDir)
    const socket = await startSocketServer({ socketPath, clock, log }, routes)
    closers.push(() => socket.stop())
    if (options.admin !== undefined) {
      const { listen: at, profiling } = options.admin
      const admin = await startAdminServer(at, controlPages(parts, { stateDir, profiling }), log)
      closers.push(() => admin.stop())
    }
    const unrotated = new Repeated(clock)
    let isAwaited = false
    const notRotated = (err: unknown): void => {
      const repeated = unrotated.due(String(err))
      if (repeated !== undefined) log.error({ err, repeated }, 'the next authority could not be made, trying again')
    }
    const sweep = every(nothingEnds, 'the sweep of the registry', sweepIntervalMs, () => {
      book.sweep()
      registry.sweep()
      refusals.gather()
      txnKeys.rotateIfDue()
      own.renewIfDue(showOwn)
      if (ca.keys.awaitsSigned && !isAwaited)
        log.warn(
          { notAfterMs: ca.issuingNotAfterMs },
          'the next issuing certificate is to be signed where the root’s key is',
        )
      isAwaited = ca.keys.awaitsSigned
      const rotated = ca.keys.rotateIfDue()
      settle(nothingEnds, 'the rotation of authorities', rotated, () => unrotated.over(), notRotated)
    })
    closers.push(() => clearInterval(sweep))
    const value = <T>(kind: PushedKind<T>): Observed<T> => publisher.value(kind)
    log.info({ listen, trustDomain, policyRevision: policies.current.revision }, 'control plane is up')
    return { address, port, url: `https://${listen}`, socketPath, value, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function openSqliteStore(stateDir: string): Store {
  return new SqliteStore(join(stateDir, 'control.db'))
}

function hostPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
