/**
 * `ringfence sidecar` and `gateway --svid-from` at a Workload API that is not ours: go-spiffe's messages served by gRPC for Go, with an authority of its own.
 * Certificates are others each second, and the root is, while clients come, ask and stay.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, it, describe as suite } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { certificatesOf } from '../../src/identity/chain.ts'
import { type Credentials, credentialsOf } from '../../src/mesh/credentials.ts'
import { goPrograms } from '../e2e/drivers/toolchain.ts'
import { freePort } from '../free-port.ts'
import { RawClient } from './client.ts'
import { FakeNode } from './fake-node.ts'
import { endPrograms, Program } from './program.ts'
import { usualPolicy } from './world.ts'

const paths = ['/ringfence/sidecar/main/dc1/node1', '/ringfence/gateway/main/gateway1', '/svc/bob']
const renewedMs = 1_000

suite('proxies with SVIDs of a Workload API that is not ours', () => {
  let folder: string
  let go: Awaited<ReturnType<typeof goPrograms>>
  const children = new Set<ChildProcess>()

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-sf-'))
    go = await goPrograms('go-spiffe', join(import.meta.dirname, 'workload-api', 'client'), [
      'github.com/spiffe/spiffe-helper/cmd/spiffe-helper',
    ])
    if (process.env.CI === 'true') assert.ok(!('absent' in go), JSON.stringify(go))
  })
  after(() => {
    endPrograms()
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  async function serve(bin: string, domain: string, name: string) {
    const socket = join(folder, `${name}.sock`)
    const args = ['serve', socket, domain, String(renewedMs), ...paths]
    const child = spawn(join(bin, 'client'), args, { stdio: ['pipe', 'pipe', 'inherit'] })
    children.add(child)
    const said: { event: string; roots?: number; none?: boolean }[] = []
    createInterface(child.stdout!).on('line', (line) => said.push(JSON.parse(line)))
    await eventually('it serves', () => said.some(({ event }) => event === 'serving'))
    return { socket, said, order: (line: string) => child.stdin!.write(`${line}\n`) }
  }

  /** The arguments of a proxy whose node, or whose own clients, are on this machine. */
  async function proxyOf(mesh: Mesh, role: 'sidecar' | 'gateway', socket: string, own: string) {
    const port = await freePort()
    const stateDir = join(mesh.stateDir, role)
    mkdirSync(stateDir)
    const file = join(stateDir, 'config.yaml')
    const bundle = join(stateDir, 'control.pem')
    writeFileSync(bundle, (await mesh.admin.bundle()).bundlePem)
    writeFileSync(
      file,
      `apiVersion: ringfence.dev/v1alpha1
kind: ${role === 'sidecar' ? 'Sidecar' : 'Gateway'}
metadata: { name: ${role}1 }
spec:
  control: { url: "${mesh.control.url}" }
  listeners: [{ address: 127.0.0.1, port: ${port} }]
${own.replaceAll('PORT', String(port))}`,
    )
    const flags = ['--svid-from', `unix://${socket}`, '--trust-bundle', bundle, '--trust-domain', 'demo.local']
    return { port, args: [role, '--config', file, '--state-dir', stateDir, ...flags] }
  }

  async function minted(mesh: Mesh, id: string): Promise<Credentials> {
    const { certificatePem, keyPem } = await mesh.admin.mint({ spiffeId: id })
    return credentialsOf(certificatePem, keyPem, (await mesh.admin.bundle()).bundlePem)
  }

  it('serve while certificate and root change under them: nobody is refused, and who stays stays', async (t) => {
    if ('absent' in go) return t.skip(go.absent)
    const api = await serve(go.bin, 'demo.local', 'spire')
    await withMesh({ rootsFrom: api.socket }, async (mesh) => {
      const rootsKnown = async (count: number) => {
        const { bundlePem } = await mesh.admin.bundle()
        return certificatesOf(bundlePem).length === 1 + count && bundlePem
      }
      await eventually('the root is known', () => rootsKnown(1))
      await mesh.admin.applyPolicy(usualPolicy, 'policy.yaml', false)
      const node = new FakeNode(await minted(mesh, 'spiffe://demo.local/cassandra/node1'))
      await node.start()
      try {
        const nodeLine = `  dataCenter: dc1\n  upstream: { address: 127.0.0.1, port: ${node.port} }\n  audit: { directory: audit }\n`
        const sidecar = await proxyOf(mesh, 'sidecar', api.socket, nodeLine)
        const gateway = await proxyOf(
          mesh,
          'gateway',
          api.socket,
          '  workers: 1\n  advertise: [{ address: 127.0.0.1, port: PORT }]\n',
        )
        const programs = [sidecar, gateway].map(({ args }) => new Program(args))
        let alice = await minted(mesh, 'spiffe://demo.local/svc/alice')
        const open = (port: number) => RawClient.open({ port, credentials: alice })
        const ask = async (client: RawClient) => {
          const answer = await client.ask(queryEnvelope(client.version, 1, 'SELECT * FROM shop.items'))
          assert.equal(headerOpcode(answer, 0), Opcode.RESULT)
        }
        const ports = [sidecar.port, gateway.port]
        const staying: RawClient[] = []
        for (const [index, port] of ports.entries()) {
          const first = await eventually('it serves', async () => {
            assert.equal(programs[index]?.child.exitCode, null, programs[index]?.err ?? '')
            const client = await open(port).catch(() => undefined)
            if (client === undefined) return undefined
            try {
              await ask(client)
              return client
            } catch {
              client.socket.destroy()
              return undefined
            }
          })
          staying.push(first)
        }

        const serials = new Set<string>()
        let asked = 0
        const round = async (): Promise<void> => {
          for (const [index, port] of ports.entries()) {
            const client = await open(port)
            serials.add(`${index} ${(client.socket as TLSSocket).getPeerX509Certificate()?.serialNumber}`)
            await ask(client)
            client.socket.destroy()
            await ask(staying[index]!)
            asked += 2
          }
        }
        const seenOf = (index: number): number => [...serials].filter((one) => one.startsWith(`${index} `)).length
        const until = (enough: () => boolean): Promise<true> =>
          eventually('each has shown other certificates', async () => {
            await round()
            return enough()
          })
        await until(() => seenOf(0) >= 3 && seenOf(1) >= 3)
        // Another root is told, then signs.
        api.order('root')
        const bundlePem = await eventually('the next root is known', () => rootsKnown(2))
        alice = { ...alice, bundlePem }
        // Nodes get roots by files, which is not what is looked at here.
        node.renew({ ...(await minted(mesh, 'spiffe://demo.local/cassandra/node1')) })
        await round()
        api.order('sign')
        serials.clear()
        await until(() => seenOf(0) >= 3 && seenOf(1) >= 3)
        assert.ok(asked >= 24, `${asked} asked`)
        for (const client of staying) assert.ok(!client.isClosed)

        // The roots of the other trust domain are told by that socket, and trusted by nobody.
        assert.equal(certificatesOf((await mesh.admin.bundle()).bundlePem).length, 3)
        const { agents } = await mesh.admin.agents(10)
        assert.deepEqual(
          agents.map(({ name, role, attestedBy }) => [name, role, attestedBy]),
          [
            ['gateway1', 'gateway', 'outside'],
            ['node1', 'sidecar', 'outside'],
          ],
        )

        // None for a while: what is in force stays, and it comes back by itself.
        api.order('none')
        await eventually('it is told', () => programs[0]!.err.includes('has no identity for this process'))
        await round()
        api.order('some')
        serials.clear()
        await until(() => seenOf(0) >= 2 && seenOf(1) >= 2)
        for (const client of staying) client.socket.destroy()
        for (const program of programs) program.child.kill('SIGTERM')
        for (const { ended } of programs) {
          const { code, out, err } = await ended
          assert.equal(code, 0, out + err)
          assert.doesNotMatch(out + err, /PRIVATE KEY/)
        }
      } finally {
        await node.stop().catch(() => {})
      }
    })
  })

  it('do not start by an SVID of another trust domain, and say so', async (t) => {
    if ('absent' in go) return t.skip(go.absent)
    const api = await serve(go.bin, 'other.example', 'other')
    await withMesh({ rootsFrom: api.socket }, async (mesh) => {
      const line = '  upstream: { address: 127.0.0.1, port: 9 }\n  audit: { directory: audit }\n'
      const { args } = await proxyOf(mesh, 'sidecar', api.socket, line)
      const { code, err } = await Program.run(args, { RINGFENCE_LOG: 'warn' })
      assert.equal(code, 1)
      assert.match(err, /no SVID was got: spiffe:\/\/other\.example\/.* is not of the trust domain demo\.local/)
      assert.equal(certificatesOf((await mesh.admin.bundle()).bundlePem).length, 1, 'nor are its roots trusted')
    })
  })

  it('are told flags that do not fit', async () => {
    const config = ['--config', 'none.yaml']
    const wrong = [
      [['--svid-from', 'tcp://127.0.0.1:1'], /is no address of a Workload API here; it is a Unix socket/],
      [['--svid-from', 'unix:///x', '--token', 'a.b'], /a join token is for who enrols here/],
      [['--trust-domain', 'demo.local'], /are for --svid-from/],
      [['--svid-from', 'unix:///x', '--trust-bundle', 'none.pem'], /--trust-bundle: none\.pem cannot be read/],
    ] as const
    const ends = await Promise.all(wrong.map(([args]) => Program.run(['sidecar', ...config, ...args])))
    for (const [index, { code, err }] of ends.entries()) {
      assert.ok(code === 64 || code === 65, err)
      assert.match(err, wrong[index]![1])
    }
  })
})
