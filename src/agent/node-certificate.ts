/**
 * The certificate of the Cassandra node beside a sidecar: an agent of the role `node` in the sidecar's process, which writes the files that
 * `cassandra.yaml` names, has the node read them, and looks whether it shows what was written.
 *
 * Rule: key and chain are in one file, and the roots are written before it: whoever reads at any moment, or after a kill at any moment, finds a pair that
 * fits, and roots that its peers' certificates stand on.
 */
import { accessSync, constants } from 'node:fs'
import { dirname, join } from 'node:path'
import { RingfenceError } from '../base/errors.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { readIfThere } from '../mesh/files.ts'
import type { NodeCertificateConfig } from '../mesh/node-certificate.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { type Agent, type AgentOptions, startAgent } from './agent.ts'
import { type CertificateFile, CertificateFiles, keyStoreText } from './certificate-files.ts'
import { runCommand } from './command.ts'
import { servedCertificate } from './served-certificate.ts'

/** `nodetool` starts a Java of its own, beside a node that may be busy. */
const reloadMsMax = 60_000
const nodeAwayMs = 5_000

export interface NodeCertificateOptions {
  readonly config: NodeCertificateConfig
  /** Where the node takes clients. */
  readonly node: { readonly address: string; readonly port: number }
  /** Whom the sidecar expects there; any node of the trust domain where it is left out. */
  readonly spiffeId: string | undefined
  /** What the agent itself needs. */
  readonly agent: Pick<AgentOptions, 'name' | 'stateDir' | 'controlUrl' | 'log' | 'clock' | 'random'>
}

export interface NodeCertificate {
  readonly credentials: Agent['credentials']
  stop(): Promise<void>
}

/**
 * Resolves when the node has a certificate in its files, or it was said why not. From then on it is renewed, written and told of.
 * @throws RingfenceError CONFIG, IDENTITY, UNAVAILABLE where there can't be any
 */
export async function keepNodeCertificate(options: NodeCertificateOptions): Promise<NodeCertificate> {
  const { config, node, spiffeId, agent: own } = options
  const { log } = own
  for (const { path } of nodeFiles(config)) requireFolder(path)
  const agent = await startAgent({ ...own, role: 'node', joinToken: tokenIn(config.tokenFile) })
  try {
    checkIdentity(agent.credentials.current, spiffeId)
  } catch (reason) {
    await agent.stop()
    throw reason
  }
  const files = new CertificateFiles({
    files: nodeFiles(config),
    tell: reloading(node, config.reload, log),
    log,
  })
  files.follow(agent.credentials)
  await files.tried
  return {
    credentials: agent.credentials,
    async stop() {
      await Promise.all([agent.stop(), files.stop()])
    },
  }
}

/** Roots before what stands on them. */
export function nodeFiles({ keystore, truststore, internode }: NodeCertificateConfig): CertificateFile[] {
  const both = [{ keystore, truststore }, ...(internode === undefined ? [] : [internode])]
  return [
    ...both.map((one) => ({
      path: one.truststore,
      text: ({ bundlePem }: Credentials) => bundlePem,
      mode: 0o644,
      keptMode: 0o664,
    })),
    // Nobody but owner and group reads a key, whatever the file's mode was.
    ...both.map((one) => ({ path: one.keystore, text: keyStoreText, mode: 0o600, keptMode: 0o640 })),
  ]
}

/** Has the node read its files, and looks whether it did. */
function reloading(
  node: NodeCertificateOptions['node'],
  command: string,
  log: Logger,
): (credentials: Credentials) => Promise<number | undefined> {
  const where = `${node.address}:${node.port}`
  const awayLines = new Repeated()
  const away = (): number => {
    const text = 'nobody listens there to be told of the certificate; a node reads its files when it starts'
    const repeated = awayLines.due(text)
    if (repeated !== undefined) log.info({ node: where, repeated }, text)
    return nodeAwayMs
  }
  return async (credentials) => {
    if ((await servedCertificate(node, credentials)) === undefined) return away()
    await runCommand(command, reloadMsMax)
    const served = await servedCertificate(node, credentials)
    if (served === undefined) return away()
    if (!served.equals(credentials.leafDer)) {
      throw new RingfenceError(
        'UNAVAILABLE',
        `the node at ${where} shows another certificate after ${command}: does its cassandra.yaml name these files`,
      )
    }
    awayLines.over()
    log.info({ node: where, notAfterMs: credentials.notAfterMs }, 'the node shows its new certificate')
    return undefined
  }
}

function checkIdentity({ spiffeId }: Credentials, expected: string | undefined): void {
  const known = expected ?? `spiffe://${trustDomainOf(spiffeId)}/cassandra/`
  if (expected === undefined ? spiffeId.startsWith(known) : spiffeId === known) return
  throw new RingfenceError('IDENTITY', `the certificate for the node is of ${spiffeId}, expected ${known}`, {
    hint: 'ringfence token generate --role node with the --spiffe-id that upstream.spiffeId has',
  })
}

/** Before a token is spent. */
function requireFolder(path: string): void {
  const folder = dirname(path)
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new RingfenceError('CONFIG', `nothing can be written beside ${path}: ${why}`, {
      hint: 'make the folder, and let the sidecar’s user write in it',
    })
  }
}

/** Needed the first time only, so it may have gone since. */
function tokenIn(file: string | undefined): string | undefined {
  const token = file === undefined ? undefined : readIfThere(file)?.trim()
  return token === '' ? undefined : token
}

/** Where the agent keeps the node's identity. */
export function nodeStateDir(stateDir: string): string {
  return join(stateDir, 'node')
}
