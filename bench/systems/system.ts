/**
 * What stands between the load maker and the stub. Every system is the same chain, so that they may be compared:
 *
 *     load maker ──plain or TLS──▶ first hop ──mTLS──▶ second hop ──mTLS──▶ stub
 *
 * `direct` has no hops; cql-proxy and Shotover are one hop without TLS, as their rows say. One worker or event loop in each hop unless `workers` says otherwise.
 */
import { join } from 'node:path'
import type { Credentials } from '../certificates.ts'
import { freePort, start, untilListening } from '../processes.ts'

export interface BenchContext {
  /** A fresh folder for files and logs. */
  readonly directory: string
  /** The bench CA's certificate, for NGINX, Envoy and the direct row. */
  readonly credentials: Credentials
  /** In each hop. */
  readonly workers: number
  /** Of the value in the rows of `bench.rows`. */
  readonly rowBytes: number
}

export interface System {
  readonly name: string
  /** Where the load maker connects, without TLS. */
  readonly port: number
  /** The same with TLS. Undefined for one that takes none: it has no rows for such loads. */
  readonly tlsPort: number | undefined
  /** What the load maker shows at `tlsPort`. */
  readonly credentials: Credentials
  /** The processes whose CPU is counted: everything between client and stub, the stub not. */
  readonly pids: readonly number[]
}

export type StartSystem = (context: BenchContext) => Promise<System>

/** A system's name as part of a file's. */
export function slugOf(name: string): string {
  return name.replaceAll(/[ ,]+/g, '-')
}

/** A stub of this system's own. With credentials it speaks mTLS. */
export async function startStub(context: BenchContext, name: string, tls: Credentials | undefined): Promise<number> {
  const port = await freePort()
  const args = [
    join(import.meta.dirname, '..', 'stub.ts'),
    '--port',
    String(port),
    '--row-bytes',
    String(context.rowBytes),
  ]
  if (tls !== undefined) args.push('--cert', tls.cert, '--key', tls.key, '--ca', tls.ca)
  const child = start(join(context.directory, `stub-${name}.log`), process.execPath, args)
  await untilListening(child, port, `the stub of ${name}`)
  return port
}
