/**
 * What the four sample workloads share: an ordinary process with the unmodified `cassandra-driver`, a certificate that the mesh's
 * agent renews, and a loop. Nothing in the driver knows of Ringfence: it is given addresses and a certificate.
 */
import { X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionOptions } from 'node:tls'
import { Client, errors, policies, types } from 'cassandra-driver'
import { type Agent, startAgent } from '../../src/agent/agent.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { writeFailures } from './failures.ts'
import { RenewingClient } from './renewing-client.ts'

export interface Work {
  readonly client: Client
  /** Executes and says how it went, without throwing for what the mesh or Cassandra answers. */
  attempt(query: string, params?: readonly unknown[]): Promise<types.ResultSet | undefined>
  random(below: number): number
}

/**
 * Runs until it is told to stop. Settings come from the environment: DEMO_CONTROL_URL, DEMO_DOOR (address:port), DEMO_STATE_DIR,
 * DEMO_TOKEN (a join token, for the first certificate).
 * @param pauseMs between two turns of `turn`
 */
export async function runWorkload(
  name: string,
  pauseMs: number,
  turn: (work: Work) => Promise<unknown>,
): Promise<void> {
  const log = createLogger(name)
  const agent = await startAgent({
    role: 'workload',
    name,
    stateDir: setting('DEMO_STATE_DIR'),
    controlUrl: setting('DEMO_CONTROL_URL'),
    joinToken: process.env.DEMO_TOKEN,
    log,
  })
  const renewing = new RenewingClient(() => clientOf(agent, name))
  agent.credentials.observe(() => void renewing.renew())
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort())

  let failed = 0
  let lastFault = ''
  writeFailures(setting('DEMO_STATE_DIR'), { workload: name, failed, last: '' })
  const work: Work = {
    get client() {
      return renewing.client
    },
    random: (below) => Math.floor(Math.random() * below),
    async attempt(query, params = []) {
      try {
        return await renewing.client.execute(query, [...params])
      } catch (reason) {
        const fault = reason instanceof Error ? reason.message : String(reason)
        // What policy refuses is part of the show; what is lost is not.
        if (!isRefusal(reason)) {
          writeFailures(setting('DEMO_STATE_DIR'), { workload: name, failed: ++failed, last: fault })
        }
        if (fault !== lastFault) log.info({ query, fault }, 'refused or failed')
        lastFault = fault
        return undefined
      }
    },
  }
  while (!stopping.signal.aborted) {
    await turn(work)
    await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal: stopping.signal }).catch(() => {})
  }
  await renewing.close()
  await agent.stop()
}

function isRefusal(reason: unknown): boolean {
  return reason instanceof errors.ResponseError && reason.code === types.responseErrorCodes.unauthorized
}

function clientOf(agent: Agent, name: string): Client {
  return new Client({
    contactPoints: [setting('DEMO_DOOR')],
    localDataCenter: 'datacenter1',
    sslOptions: tlsOptions(agent),
    pooling: { coreConnectionsPerHost: { [types.distance.local]: 1 } },
    queryOptions: { prepare: true, isIdempotent: true, consistency: types.consistencies.localQuorum },
    policies: { reconnection: new policies.reconnection.ConstantReconnectionPolicy(250) },
    applicationName: name,
  })
}

/** Our certificate, and the mesh's as the only one that we take for a server. */
function tlsOptions({ credentials }: Agent): ConnectionOptions {
  return {
    key: credentials.current.keyPem,
    cert: credentials.current.certificatePem,
    ca: credentials.current.bundlePem,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
    // Instead of a host name: the server has to be a gateway or sidecar of our trust domain, not just any workload of it.
    checkServerIdentity: (_host, { raw }) => {
      const names = new X509Certificate(raw).subjectAltName ?? ''
      const isMesh = /(^|, )URI:spiffe:\/\/demo\.local\/ringfence\/(gateway|sidecar)\//.test(names)
      return isMesh ? undefined : new Error('the server is no gateway or sidecar of this mesh')
    },
  }
}

function setting(name: string): string {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set`)
  return value
}
