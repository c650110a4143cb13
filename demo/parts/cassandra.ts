/**
 * One real Cassandra 5 node from its jars: cassandra.yaml, JVM flags, log set-up, start, readiness, stop.
 *
 * A *locked* node takes TLS from a certificate of the mesh's CA only, and of these only the identities that were registered
 * as its role (`lock.ts` does that once). What the node ran is in its own `audit.log`, written by Cassandra's
 * FileAuditLogger: the witness that is not ours.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { stringify } from 'yaml'
import { RingfenceError } from '../../src/base/errors.ts'
import type { Child, Processes } from './processes.ts'

/** `open`: anybody, no TLS. `password`: TLS and Cassandra's own passwords. `locked`: TLS and registered SPIFFE ids only. */
export type CassandraAccess = 'open' | 'password' | 'locked'

export interface CassandraNode {
  /** 1 for the first node; names its folder, log and process. */
  readonly index: number
  readonly clusterName: string
  readonly addresses: {
    /** Gossip and streaming. */
    readonly listen: string
    /** Where CQL really listens. */
    readonly rpc: string
    /** What drivers are told: the sidecar's address. */
    readonly broadcastRpc: string
  }
  readonly nativePort: number
  readonly storagePort: number
  /** Loopback only; left out, the node has no JMX port at all. */
  readonly jmxPort?: number
  /** Listen addresses of the seeds. A seed joins at once, without streaming from others. */
  readonly seeds: readonly string[]
  /** Everything of this node lies below. */
  readonly dataDir: string
  readonly heapMb: number
  readonly access: CassandraAccess
  /** PEM files: key, certificate and issuers in one; the trusted roots. Needed unless `open`. */
  readonly tls?: { readonly nodePem: string; readonly caPem: string }
  /** SPIFFE ids of the nodes, which are let in between nodes. Needed unless `open`. */
  readonly peerIdentities?: readonly string[]
  readonly auditLog: boolean
  readonly jvmFlags: readonly string[]
  /** Size of the pools for reads, for writes and for what comes from clients. Left out, 16, 16 and Cassandra's own 128. */
  readonly poolThreads?: number | undefined
  readonly features: { readonly udf: boolean; readonly mv: boolean; readonly sasi: boolean }
  readonly dataCenter: string
  readonly rack: string
}

export interface RunningCassandra {
  readonly index: number
  readonly pid: number
  readonly child: Child
  readonly systemLog: string
  /** One line for each statement that the node ran, when `auditLog` is on. */
  readonly auditLogFile: string
  stop(): Promise<void>
  kill(): Promise<void>
}

export interface CassandraParts {
  readonly java: string
  readonly jarsDir: string
}

/** How long a node may take until its CQL port opens. Nine seconds are usual; a loaded machine takes many more. */
const readyTimeoutMs = 180_000

/** Starts the node and waits until its CQL port takes connections. Throws UNAVAILABLE with the end of its log. */
export async function startCassandra(
  node: CassandraNode,
  parts: CassandraParts,
  processes: Processes,
): Promise<RunningCassandra> {
  const confDir = join(node.dataDir, 'conf')
  const logDir = join(node.dataDir, 'log')
  for (const dir of [confDir, logDir, join(node.dataDir, 'storage'), join(node.dataDir, 'tmp')])
    mkdirSync(dir, { recursive: true })
  writeFileSync(join(confDir, 'cassandra.yaml'), stringify(cassandraYaml(node)))
  writeFileSync(join(confDir, 'logback.xml'), logbackXml(logDir))
  writeFileSync(join(confDir, 'cassandra-rackdc.properties'), `dc=${node.dataCenter}\nrack=${node.rack}\n`)

  const name = `cassandra-${node.index}`
  const child = await processes.spawn(name, parts.java, javaArguments(node, parts.jarsDir, confDir, logDir), {
    cwd: node.dataDir,
    graceMs: 30_000,
  })
  let gone = false
  void child.exited.then(() => {
    gone = true
  })
  const deadline = performance.now() + readyTimeoutMs
  while (!(await isOpen(node.addresses.rpc, node.nativePort))) {
    if (gone || performance.now() > deadline) {
      await child.kill()
      const reason = gone ? 'stopped before it was ready' : `was not ready after ${readyTimeoutMs / 1000} s`
      throw new RingfenceError('UNAVAILABLE', `cassandra node ${node.index} ${reason}`, {
        hint: `see ${join(logDir, 'system.log')} and ${child.logFile}`,
      })
    }
    await sleep(100)
  }
  return {
    index: node.index,
    pid: child.pid,
    child,
    systemLog: join(logDir, 'system.log'),
    auditLogFile: join(logDir, 'audit.log'),
    stop: () => child.stop(),
    kill: () => child.kill(),
  }
}

/** Cassandra's settings as a plain object; everything that is not here is Cassandra's default. */
export function cassandraYaml(node: CassandraNode): Record<string, unknown> {
  const storage = join(node.dataDir, 'storage')
  const pemFactory = { class_name: 'org.apache.cassandra.security.PEMBasedSslContextFactory' }
  const encrypted = {
    ssl_context_factory: pemFactory,
    keystore: node.tls?.nodePem,
    truststore: node.tls?.caPem,
    require_client_auth: true,
  }
  if (node.access !== 'open' && node.tls === undefined) {
    throw new RingfenceError('CONFIG', `cassandra node ${node.index} is not open and has no certificate`)
  }
  return {
    cluster_name: node.clusterName,
    num_tokens: 8,
    partitioner: 'org.apache.cassandra.dht.Murmur3Partitioner',
    endpoint_snitch: 'GossipingPropertyFileSnitch',
    seed_provider: [
      { class_name: 'org.apache.cassandra.locator.SimpleSeedProvider', parameters: [{ seeds: node.seeds.join(',') }] },
    ],
    listen_address: node.addresses.listen,
    storage_port: node.storagePort,
    rpc_address: node.addresses.rpc,
    broadcast_rpc_address: node.addresses.broadcastRpc,
    start_native_transport: true,
    native_transport_port: node.nativePort,
    // The sidecar's pool is one client address; drivers' suites open hundreds of connections through it.
    native_transport_max_concurrent_connections_per_ip: -1,

    data_file_directories: [join(storage, 'data')],
    commitlog_directory: join(storage, 'commitlog'),
    saved_caches_directory: join(storage, 'saved_caches'),
    hints_directory: join(storage, 'hints'),
    cdc_raw_directory: join(storage, 'cdc_raw'),
    commitlog_sync: 'periodic',
    commitlog_sync_period: '10000ms',
    commitlog_segment_size: '4MiB',
    auto_snapshot: false,
    disk_optimization_strategy: 'ssd',
    concurrent_reads: node.poolThreads ?? 16,
    concurrent_writes: node.poolThreads ?? 16,
    native_transport_max_threads: node.poolThreads ?? 128,
    // Ordinary statements get the time that a busy two-core machine needs.
    read_request_timeout: '10000ms',
    range_request_timeout: '20000ms',
    write_request_timeout: '10000ms',
    request_timeout: '20000ms',
    // A small machine that runs everything at once is slow at times, and a demonstration that sheds load then shows nothing.
    native_transport_timeout: '30000ms',

    authenticator: authenticatorOf(node.access),
    authorizer: node.access === 'open' ? 'AllowAllAuthorizer' : 'CassandraAuthorizer',
    role_manager: 'CassandraRoleManager',
    auth_read_consistency_level: 'LOCAL_ONE',
    // All that a locked node ever asks is about the mesh's one role. With the default of two seconds a request now and then waits for a
    // read of `system_auth` at another node, which its trace shows.
    ...Object.fromEntries(
      ['permissions', 'roles', 'credentials'].flatMap((cache) => [
        [`${cache}_validity`, '1h'],
        [`${cache}_update_interval`, '10m'],
      ]),
    ),
    ...(node.access === 'open'
      ? {}
      : {
          client_encryption_options: { enabled: true, optional: false, ...encrypted },
          server_encryption_options: { internode_encryption: 'all', optional: false, ...encrypted },
          // Between nodes a certificate of the same CA is not enough either.
          internode_authenticator: {
            class_name: 'org.apache.cassandra.auth.MutualTlsInternodeAuthenticator',
            parameters: {
              validator_class_name: spiffeValidator,
              trusted_peer_identities: (node.peerIdentities ?? []).join(','),
            },
          },
        }),

    ...(node.auditLog
      ? {
          audit_logging_options: {
            enabled: true,
            excluded_keyspaces: 'none',
            logger: [{ class_name: 'FileAuditLogger' }],
          },
        }
      : {}),
    user_defined_functions_enabled: node.features.udf,
    materialized_views_enabled: node.features.mv,
    sasi_indexes_enabled: node.features.sasi,
  }
}

const spiffeValidator = 'org.apache.cassandra.auth.SpiffeCertificateValidator'

function authenticatorOf(access: CassandraAccess): unknown {
  if (access === 'open') return 'AllowAllAuthenticator'
  if (access === 'password') return 'PasswordAuthenticator'
  return {
    class_name: 'MutualTlsAuthenticator',
    parameters: { validator_class_name: spiffeValidator },
  }
}

const exports = [
  'java.base/jdk.internal.misc',
  'java.base/jdk.internal.ref',
  'java.base/java.lang.ref',
  'java.base/sun.nio.ch',
  'java.management.rmi/com.sun.jmx.remote.internal.rmi',
  'java.rmi/sun.rmi.registry',
  'java.rmi/sun.rmi.server',
  'java.rmi/sun.rmi.transport.tcp',
  'java.sql/java.sql',
  'jdk.attach/sun.tools.attach',
  'jdk.compiler/com.sun.tools.javac.file',
  'jdk.unsupported/sun.misc',
]

const opens = [
  'java.base/java.io',
  'java.base/java.lang',
  'java.base/java.lang.module',
  'java.base/java.lang.reflect',
  'java.base/java.nio',
  'java.base/java.util',
  'java.base/java.util.concurrent',
  'java.base/java.util.concurrent.atomic',
  'java.base/jdk.internal.loader',
  'java.base/jdk.internal.math',
  'java.base/jdk.internal.module',
  'java.base/jdk.internal.ref',
  'java.base/jdk.internal.reflect',
  'java.base/jdk.internal.util.jar',
  'java.base/sun.nio.ch',
  'jdk.compiler/com.sun.tools.javac',
  'jdk.management/com.sun.management.internal',
]

/** What Cassandra 5 asks of the modules of Java 17. */
export const moduleFlags: readonly string[] = [
  ...exports.map((name) => `--add-exports=${name}=ALL-UNNAMED`),
  ...opens.map((name) => `--add-opens=${name}=ALL-UNNAMED`),
]

/** Cassandra's `conf/jvm17-server.options` and what makes a small cluster start fast. The caller's flags come last and win. */
export function javaArguments(node: CassandraNode, jarsDir: string, confDir: string, logDir: string): string[] {
  const jars = readdirSync(jarsDir)
    .filter((file) => file.endsWith('.jar'))
    .sort()
  return [
    ...moduleFlags,
    // Cassandra locks its memory; what it does not have at the start need not be zeroed before it starts.
    `-Xms${Math.min(256, node.heapMb)}M`,
    `-Xmx${node.heapMb}M`,
    '-XX:+UseG1GC',
    // A node for trying things out is never hot for long: the second compiler costs a third of the start's CPU.
    '-XX:TieredStopAtLevel=1',
    '-Djdk.attach.allowAttachSelf=true',
    '-Dio.netty.tryReflectionSetAccessible=true',
    `-Djava.io.tmpdir=${join(node.dataDir, 'tmp')}`,
    `-Dlogback.configurationFile=${join(confDir, 'logback.xml')}`,
    `-Dcassandra.config=${pathToFileURL(join(confDir, 'cassandra.yaml'))}`,
    `-Dcassandra-rackdc.properties=${pathToFileURL(join(confDir, 'cassandra-rackdc.properties'))}`,
    `-Dcassandra.storagedir=${join(node.dataDir, 'storage')}`,
    `-Dcassandra.logdir=${logDir}`,
    '-Dcassandra-foreground=yes',
    '-Dcassandra.ring_delay_ms=1000',
    // A node that missed a change of the schema asks for it a minute later unless told otherwise.
    '-Dcassandra.migration_delay_ms=2000',
    '-Dcassandra.schema_pull_interval_ms=5000',
    '-Dcassandra.skip_wait_for_gossip_to_settle=0',
    '-Dcassandra.superuser_setup_delay_ms=0',
    '-Dcassandra.shutdown_announce_in_ms=0',
    ...(node.jmxPort === undefined ? [] : [`-Dcassandra.jmx.local.port=${node.jmxPort}`]),
    ...node.jvmFlags,
    '-cp',
    jars.map((jar) => join(jarsDir, jar)).join(':'),
    'org.apache.cassandra.service.CassandraDaemon',
  ]
}

export function logbackXml(logDir: string): string {
  const rolling = (name: string, file: string, pattern: string): string => `
  <appender name="${name}" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>${join(logDir, file)}</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>${join(logDir, file)}.%i</fileNamePattern><minIndex>1</minIndex><maxIndex>3</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy"><maxFileSize>50MB</maxFileSize></triggeringPolicy>
    <encoder><pattern>${pattern}</pattern></encoder>
  </appender>`
  return `<configuration>
${rolling('SYSTEM', 'system.log', '%-5level [%thread] %date{ISO8601} %F:%L - %msg%n')}
${rolling('AUDIT', 'audit.log', '%date{ISO8601} %msg%n')}
  <logger name="org.apache.cassandra.audit.FileAuditLogger" level="INFO" additivity="false"><appender-ref ref="AUDIT"/></logger>
  <root level="INFO"><appender-ref ref="SYSTEM"/></root>
</configuration>
`
}

/** True when something takes TCP connections there. */
export function isOpen(host: string, port: number, timeoutMs = 1000): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const done = (open: boolean): void => {
      socket.destroy()
      resolve(open)
    }
    socket.setTimeout(timeoutMs, () => done(false))
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })
}
