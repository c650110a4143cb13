/**
 * What a sample workload proves itself with, as its driver is given it: a certificate, which the mesh's agent renews, or a token as the password.
 * Nothing in the driver knows of Ringfence.
 */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { auth } from 'cassandra-driver'
import { startAgent } from '../../src/agent/agent.ts'
import type { Logger } from '../../src/telemetry/log.ts'
import { setting } from '../told.ts'

export interface Credentials {
  /** Of a new connection. */
  readonly tls: ConnectionOptions
  readonly authProvider?: auth.AuthProvider
  /** Calls `act` when what a session was opened with is soon over and there is something newer. */
  onRenewal(act: () => void): void
  close(): Promise<void>
}

/** Settings come from the environment: DEMO_CONTROL_URL, DEMO_STATE_DIR, DEMO_TOKEN (a join token, for the first certificate). */
export async function byCertificate(name: string, log: Logger): Promise<Credentials> {
  const agent = await startAgent({
    role: 'workload',
    name,
    stateDir: setting('DEMO_STATE_DIR'),
    controlUrl: setting('DEMO_CONTROL_URL'),
    joinToken: process.env.DEMO_TOKEN,
    log,
  })
  return {
    get tls() {
      const { keyPem: key, certificatePem: cert, bundlePem } = agent.credentials.current
      return { key, cert, ...onlyTheMesh(bundlePem) }
    },
    onRenewal: (act) => agent.credentials.observe(act),
    close: () => agent.stop(),
  }
}

/** Where a token comes from. */
export interface TokenSource {
  /** One that has much of its life before it. */
  token(): Promise<string>
  readonly lifeMs: number
}

/** From the environment: DEMO_CA (file with the mesh's roots). There is no certificate: a gateway asks. */
export function byToken(source: TokenSource): Credentials {
  const timers: NodeJS.Timeout[] = []
  return {
    tls: onlyTheMesh(readFileSync(setting('DEMO_CA'), 'utf8')),
    authProvider: new FreshToken(source),
    onRenewal: (act) => timers.push(setInterval(act, (source.lifeMs * 2) / 3)),
    async close() {
      for (const timer of timers) clearInterval(timer)
    },
  }
}

/** Asks for a token at each connection. The driver takes none that is not of this class. */
class FreshToken extends auth.PlainTextAuthProvider {
  readonly #source: TokenSource

  constructor(source: TokenSource) {
    super('token', '')
    this.#source = source
  }

  override newAuthenticator(): auth.Authenticator {
    return {
      initialResponse: (answer: (error: unknown, response?: Buffer) => void) => {
        this.#source.token().then(
          (token) => answer(null, Buffer.from(`\0token\0${token}`)),
          (reason: unknown) => answer(reason),
        )
      },
      evaluateChallenge: (_: Buffer, answer: (error: Error) => void) => answer(new Error('nothing more is asked')),
      onAuthenticationSuccess() {},
    }
  }
}

/** The mesh's roots as the only ones. */
function onlyTheMesh(ca: string): ConnectionOptions {
  return {
    ca,
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
