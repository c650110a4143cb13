/** `ringfence cert-sync` beside a real NGINX: it serves each new certificate, and no connection is refused meanwhile. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { findNginx } from '../../src/cli/commands/nginx.ts'
import { eventually, withMesh } from '../../src/control/mesh.fixture.ts'
import { freePort } from '../free-port.ts'
import { endPrograms, Program } from './program.ts'

const skip = findNginx('nginx') === undefined && process.env.CI !== 'true' ? 'nginx is not on this host' : false

describe('ringfence cert-sync', { skip }, () => {
  let folder: string
  let proxy: ChildProcess | undefined

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-sync-'))
  })
  after(() => {
    endPrograms()
    proxy?.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  })

  it('keeps the certificate of NGINX fresh under connections, and tells where the reload fails', async () => {
    await withMesh({ svidTtlMs: 20_000 }, async (mesh) => {
      const out = join(folder, 'tls')
      const { token } = await mesh.admin.makeToken({
        spiffeId: 'spiffe://demo.local/web/edge1',
        role: 'node',
        dnsNames: ['shop.example.com'],
      })
      const config = join(folder, 'nginx.conf')
      const nginx = ['nginx', '-c', config, '-p', folder, '-e', 'stderr']
      const sync = new Program(
        ['cert-sync', '--control-url', mesh.control.url, '--out', out, '--exec', `${nginx.join(' ')} -s reload`],
        { RINGFENCE_CERT_SYNC_TOKEN: token, RINGFENCE_LOG: 'info' },
      )
      // NGINX needs the files to start, so at the first time there is none to be reloaded.
      await sync.says(/the command failed; trying again/)
      for (const name of ['combined.pem', 'key.pem']) assert.equal(statSync(join(out, name)).mode & 0o777, 0o600, name)
      const port = await freePort()
      writeFileSync(config, configOf(folder, port, join(out, 'combined.pem')))
      const logged: string[] = []
      proxy = spawn(nginx[0]!, [...nginx.slice(1), '-g', 'daemon off;'], { stdio: ['ignore', 'ignore', 'pipe'] })
      proxy.stderr?.on('data', (chunk: Buffer) => logged.push(chunk.toString()))
      await eventually('NGINX listens', () => logged.some((line) => /start worker process/.test(line)))
      await sync.says(/command was run/)

      const served = new Map<string, X509Certificate>()
      const faults: string[] = []
      let requests = 0
      let done = false
      const client = async (): Promise<void> => {
        while (!done) {
          try {
            const certificate = await get(port, readFileSync(join(out, 'bundle.pem'), 'utf8'))
            served.set(certificate.serialNumber, certificate)
            requests++
          } catch (reason) {
            faults.push(reason instanceof Error ? reason.message : String(reason))
          }
          await sleep(5)
        }
      }
      const clients = [client(), client()]
      for (const count of [2, 3]) await eventually(`${count} certificates were served`, () => served.size >= count)
      done = true
      await Promise.all(clients)
      assert.deepEqual(faults, [], `of ${requests} requests`)
      for (const certificate of served.values()) {
        assert.match(certificate.subjectAltName ?? '', /DNS:shop\.example\.com/)
        assert.match(certificate.subjectAltName ?? '', /URI:spiffe:\/\/demo\.local\/web\/edge1/)
      }
      // What the files have is what is served, within a moment.
      await eventually('the one in the file is served', async () => {
        const inFile = new X509Certificate(readFileSync(join(out, 'combined.pem')))
        return (await get(port, readFileSync(join(out, 'bundle.pem'), 'utf8'))).serialNumber === inFile.serialNumber
      })
      sync.child.kill('SIGTERM')
      assert.equal((await sync.ended).code, 0)
    })
  })

  it('takes NGINX through another root: it shows and takes certificates of both, and no connection is refused', async () => {
    await withMesh({ svidTtlMs: 10_000 }, async (mesh) => {
      const out = join(folder, 'rooted')
      const { token } = await mesh.admin.makeToken({
        spiffeId: 'spiffe://demo.local/web/edge3',
        role: 'node',
        dnsNames: ['shop.example.com'],
      })
      const config = join(folder, 'rooted.conf')
      const nginx = ['nginx', '-c', config, '-p', folder, '-e', 'stderr']
      const sync = new Program(
        ['cert-sync', '--control-url', mesh.control.url, '--out', out, '--exec', `${nginx.join(' ')} -s reload`],
        { RINGFENCE_CERT_SYNC_TOKEN: token, RINGFENCE_LOG: 'info' },
      )
      await sync.says(/the command failed; trying again/)
      const bundle = join(out, 'bundle.pem')
      const port = await freePort()
      const asksClients = `ssl_client_certificate ${bundle}; ssl_verify_client on; ssl_verify_depth 3;`
      writeFileSync(config, configOf(folder, port, join(out, 'combined.pem'), asksClients))
      const logged: string[] = []
      const rooted = spawn(nginx[0]!, [...nginx.slice(1), '-g', 'daemon off;'], { stdio: ['ignore', 'ignore', 'pipe'] })
      try {
        rooted.stderr?.on('data', (chunk: Buffer) => logged.push(chunk.toString()))
        await eventually('NGINX listens', () => logged.some((line) => /start worker process/.test(line)))
        await sync.says(/command was run/)
        const joinToken = await mesh.token('spiffe://demo.local/svc/orders', 'workload')
        const orders = await mesh.agent('orders', joinToken, { role: 'workload' })
        const roots = (pem: string): number => pem.split('BEGIN CERTIFICATE').length - 1
        const trusted = (count: number) =>
          eventually(`both sides have ${count} roots`, () =>
            [orders.credentials.current.bundlePem, readFileSync(bundle, 'utf8')].every((pem) => roots(pem) === count),
          )
        const by = (text: string | Buffer): string => new X509Certificate(text).issuer
        const faults: string[] = []
        const pairs = new Set<string>()
        let done = false
        const client = async (): Promise<void> => {
          while (!done) {
            const own = orders.credentials.current
            await get(port, own.bundlePem, own).then(
              (shown) => pairs.add(`${by(shown.raw)}|${by(own.certificatePem)}`),
              (reason) => faults.push(String(reason)),
            )
            await sleep(5)
          }
        }
        const clients = [client(), client()]
        const { authorities } = await mesh.admin.authorities()
        const old = authorities.find(({ kind, state }) => kind === 'root' && state === 'active')!.id
        await mesh.admin.prepareAuthority({ kind: 'root' })
        await trusted(2)
        await sleep(1_000)
        await mesh.admin.activateAuthority({ kind: 'root', force: true })
        const oldIssuer = by(orders.credentials.current.certificatePem)
        await eventually('each of the two has shown a certificate of the new root to the other', () =>
          [...pairs].some((pair) => !pair.split('|').includes(oldIssuer)),
        )
        assert.ok(pairs.size > 1)
        await mesh.admin.taintAuthority({ id: old })
        await sleep(12_000)
        await mesh.admin.revokeAuthority({ id: old, force: true })
        await trusted(1)
        await sleep(2_000)
        done = true
        await Promise.all(clients)
        assert.deepEqual(faults, [])
        sync.child.kill('SIGTERM')
        assert.equal((await sync.ended).code, 0)
      } finally {
        rooted.kill('SIGTERM')
      }
    })
  })

  it('writes once and ends, with a fault where the command has one, and starts again without a token', async () => {
    await withMesh({}, async (mesh) => {
      const out = join(folder, 'once')
      const { token } = await mesh.admin.makeToken({ spiffeId: 'spiffe://demo.local/web/edge2', role: 'node' })
      const args = ['cert-sync', '--control-url', mesh.control.url, '--out', out, '--once', '--exec']
      const first = await Program.run([...args, `touch '${folder}/told'`], { RINGFENCE_CERT_SYNC_TOKEN: token })
      assert.equal(first.code, 0, first.err)
      assert.ok(existsSync(join(folder, 'told')))
      const failing = await Program.run([...args, 'exit 3'])
      assert.equal(failing.code, 1)
      assert.match(failing.err, /error: the command ended with 3/)
    })
  })
})

function configOf(folder: string, port: number, pem: string, more = ''): string {
  return `pid ${folder}/nginx.pid;
error_log stderr notice;
worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path ${folder}/t1; proxy_temp_path ${folder}/t2; fastcgi_temp_path ${folder}/t3;
    uwsgi_temp_path ${folder}/t4; scgi_temp_path ${folder}/t5;
    server {
        listen 127.0.0.1:${port} ssl;
        ssl_certificate ${pem};
        ssl_certificate_key ${pem};
        ${more}
        location / { return 200 "yes"; }
    }
}
`
}

/** One request over a connection of its own, verified by the mesh's roots; the certificate that was served. */
function get(
  port: number,
  ca: string,
  own?: { readonly certificatePem: string; readonly keyPem: string },
): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const identity = own === undefined ? {} : { cert: own.certificatePem, key: own.keyPem }
    const socket: TLSSocket = connect({ host: '127.0.0.1', port, servername: 'shop.example.com', ca, ...identity })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate()
      const sent = request({ createConnection: () => socket, path: '/', headers: { connection: 'close' } })
      sent.on('error', reject)
      sent.on('response', (answer) => {
        answer.resume()
        answer.on('end', () => {
          if (answer.statusCode === 200 && certificate !== undefined) resolve(certificate)
          else reject(new Error(`answered ${answer.statusCode}`))
        })
      })
      sent.end()
    })
  })
}
