import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { pino } from 'pino'
import { eventually, type Mesh, withMesh } from '../control/mesh.fixture.ts'
import { parseSidecarConfig } from '../sidecar/config.ts'
import { keepNodeCertificate, type NodeCertificateOptions } from './node-certificate.ts'

const nodeId = 'spiffe://demo.local/cassandra/node1'

describe('the certificate of a sidecar’s node', () => {
  let folder: string
  let keystore: string
  let truststore: string
  /** As long as it was told to read its files. */
  let told: string
  let said: string[]
  let node: FakeNode | undefined

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-node-'))
    keystore = join(folder, 'node.pem')
    truststore = join(folder, 'bundle.pem')
    told = join(folder, 'told')
    said = []
  })
  afterEach(() => {
    node?.stop()
    node = undefined
    rmSync(folder, { recursive: true, force: true })
  })

  const tellIt = (): string => `printf x >> '${told}'`

  async function keeping(
    mesh: Mesh,
    change: Partial<NodeCertificateOptions['config']>,
    test: () => Promise<void>,
    port = node?.port ?? 1,
  ): Promise<void> {
    const kept = await keepNodeCertificate(await optionsOf(mesh, change, port))
    try {
      await test()
    } finally {
      await kept.stop()
    }
  }

  async function optionsOf(
    mesh: Mesh,
    change: Partial<NodeCertificateOptions['config']>,
    port: number,
    id = nodeId,
  ): Promise<NodeCertificateOptions> {
    const tokenFile = join(folder, 'token')
    const { token } = await mesh.admin.makeToken({ spiffeId: id, role: 'node', ipAddresses: ['127.0.0.1'] })
    writeFileSync(tokenFile, token)
    return {
      config: { keystore, truststore, reload: tellIt(), tokenFile, ...change },
      node: { address: '127.0.0.1', port },
      spiffeId: nodeId,
      agent: {
        name: 'node1-cassandra',
        stateDir: join(folder, 'state'),
        controlUrl: mesh.control.url,
        log: pino({ level: 'info' }, { write: (line) => said.push(line) }),
      },
    }
  }

  const leafIn = (path: string): X509Certificate => new X509Certificate(readFileSync(path, 'utf8'))
  const isSaid = (text: string) => (): boolean => said.some((line) => line.includes(text))

  it('is written, read by the node at once and renewed, while its connections go on', () =>
    withMesh({ svidTtlMs: 10_000 }, async (mesh) => {
      node = await FakeNode.start(mesh, folder, told)
      const { talk, end } = await node.conversation()
      const first = await node.serial()
      await keeping(mesh, {}, async () => {
        assert.equal(readFileSync(truststore, 'utf8'), (await mesh.admin.bundle()).bundlePem)
        const seen = new Set([first])
        for (const count of [2, 3, 4]) {
          await eventually(`certificate ${count} is shown`, async () => seen.add(await node!.serial()).size >= count)
          assert.equal(await talk(), 'said', 'who was there before is still there')
        }
        await eventually('the last was looked at', isSaid('the node shows its new certificate'))
        assert.ok(leafIn(keystore).checkPrivateKey(createPrivateKey(readFileSync(keystore))))
      })
      end()
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.endsWith('.new')),
        [],
      )
      assert.equal(said.filter((line) => line.includes('PRIVATE KEY')).length, 0)
    }))

  it('has files of its own between nodes where they are named', () =>
    withMesh({}, async (mesh) => {
      const internode = { keystore: join(folder, 'internode.pem'), truststore: join(folder, 'internode-roots.pem') }
      await keeping(mesh, { internode }, async () => {
        assert.equal(readFileSync(internode.keystore, 'utf8'), readFileSync(keystore, 'utf8'))
        assert.equal(readFileSync(internode.truststore, 'utf8'), readFileSync(truststore, 'utf8'))
      })
    }))

  it('keeps owner, group and mode of the files, but lets nobody else read a key', () =>
    withMesh({}, async (mesh) => {
      const isRoot = process.getuid?.() === 0
      const cases = [
        { key: 0o600, roots: 0o644, keyKept: 0o600, rootsKept: 0o644 },
        { key: 0o640, roots: 0o640, keyKept: 0o640, rootsKept: 0o640 },
        { key: 0o664, roots: 0o666, keyKept: 0o640, rootsKept: 0o664 },
      ]
      for (const { key, roots, keyKept, rootsKept } of cases) {
        rmSync(join(folder, 'state'), { recursive: true, force: true })
        for (const [path, mode] of [
          [keystore, key],
          [truststore, roots],
        ] as const) {
          writeFileSync(path, 'of before')
          chmodSync(path, mode)
          if (isRoot) chownSync(path, 4_711, 4_712)
        }
        await keeping(mesh, {}, async () => {})
        assert.equal(statSync(keystore).mode & 0o777, keyKept)
        assert.equal(statSync(truststore).mode & 0o777, rootsKept)
        assert.match(readFileSync(keystore, 'utf8'), /PRIVATE KEY/)
        if (isRoot) assert.deepEqual([statSync(keystore).uid, statSync(keystore).gid], [4_711, 4_712])
      }
      rmSync(join(folder, 'state'), { recursive: true })
      for (const path of [keystore, truststore]) rmSync(path)
      await keeping(mesh, {}, async () => {})
      assert.deepEqual(
        [keystore, truststore].map((path) => statSync(path).mode & 0o777),
        [0o600, 0o644],
        'where there were none',
      )
    }))

  it('is told to a node that was away when it comes', () =>
    withMesh({}, async (mesh) => {
      node = await FakeNode.start(mesh, folder, told)
      const { port } = node
      node.stop()
      await keeping(
        mesh,
        {},
        async () => {
          await eventually('it is said', isSaid('nobody listens there to be told'))
          assert.equal(existsSync(told), false, 'no program is started for a node that is away')
          node = await FakeNode.start(mesh, folder, told, port)
          await eventually('it is told', () => existsSync(told))
          await eventually('and looked at', isSaid('the node shows its new certificate'))
          assert.equal(await node.serial(), leafIn(keystore).serialNumber)
        },
        port,
      )
    }))

  it('is told again where the node shows another one all the same, or the command fails', () =>
    withMesh({}, async (mesh) => {
      node = await FakeNode.start(mesh, folder, told)
      const good = join(folder, 'good')
      const works = join(folder, 'works')
      const reload = `if [ -e '${good}' ]; then ${tellIt()}; elif [ -e '${works}' ]; then true; else exit 3; fi`
      await keeping(mesh, { reload }, async () => {
        await eventually('a fault is told', isSaid('the command ended with 3'))
        appendFileSync(works, '')
        await eventually('a deaf node is told of', isSaid('shows another certificate after'))
        assert.notEqual(await node!.serial(), leafIn(keystore).serialNumber)
        appendFileSync(good, '')
        await eventually('it is read', isSaid('the node shows its new certificate'))
        assert.equal(await node!.serial(), leafIn(keystore).serialNumber)
      })
    }))

  it('is not begun where it cannot be, and no token is spent', () =>
    withMesh({}, async (mesh) => {
      const nowhere = join(folder, 'none', 'node.pem')
      const options = await optionsOf(mesh, { keystore: nowhere }, 1)
      await assert.rejects(keepNodeCertificate(options), {
        code: 'CONFIG',
        message: /nothing can be written beside .*none/,
      })
      mkdirSync(join(folder, 'none'))
      await (await keepNodeCertificate(options)).stop()
      assert.ok(existsSync(nowhere), 'the token was still good')

      rmSync(join(folder, 'state'), { recursive: true })
      const spent = { ...options, config: { ...options.config, tokenFile: join(folder, 'gone') } }
      await assert.rejects(keepNodeCertificate(spent), { code: 'IDENTITY', message: /no join token/ })
      for (const [id, expected] of [
        ['spiffe://demo.local/cassandra/node2', nodeId],
        ['spiffe://demo.local/web/edge1', undefined],
      ] as const) {
        rmSync(join(folder, 'state'), { recursive: true, force: true })
        const other = { ...(await optionsOf(mesh, {}, 1, id)), spiffeId: expected }
        await assert.rejects(keepNodeCertificate(other), {
          code: 'IDENTITY',
          message: /the certificate for the node is of/,
        })
        assert.equal(existsSync(keystore), false, 'and nothing is written')
      }
    }))

  it('is a pair that fits after a kill at any moment, and nothing is left lying by the next', async () => {
    await withMesh({}, async (mesh) => {
      const certificates = await Promise.all(
        Array.from({ length: 5 }, () => mesh.admin.mint({ spiffeId: nodeId, ttlMs: 60_000, ipAddresses: [] })),
      )
      const source = join(folder, 'certificates.json')
      writeFileSync(source, JSON.stringify(certificates))
      const serials = new Set<string>()
      const left = (): string[] => readdirSync(folder).filter((name) => name.endsWith('.new'))
      let mostLeft = 0
      for (let killed = 0; killed < 6; killed++) {
        const fixture = join(import.meta.dirname, 'node-certificate.fixture.ts')
        const child = spawn(process.execPath, [fixture, keystore, truststore, source], { stdio: ['ignore', 'pipe', 2] })
        let dots = 0
        child.stdout?.on('data', (chunk: Buffer) => {
          dots += chunk.length
        })
        // It is about the next one, wherever it has come to with that.
        await eventually('so many were written', () => dots > killed)
        await sleep(Math.random() * 10)
        child.kill('SIGKILL')
        await once(child, 'exit')
        mostLeft = Math.max(mostLeft, left().length)
        const text = readFileSync(keystore, 'utf8')
        const leaf = new X509Certificate(text)
        assert.ok(leaf.checkPrivateKey(createPrivateKey(text)), 'key and certificate fit')
        assert.ok(
          certificates.some((one) => one.keyPem + one.certificatePem + one.bundlePem === text),
          'it is whole',
        )
        assert.equal(readFileSync(truststore, 'utf8'), certificates[0]!.bundlePem)
        serials.add(leaf.serialNumber)
      }
      assert.ok(mostLeft <= 2, 'one that was killed cleans up behind the one before')
      assert.ok(serials.size > 1, 'it was killed at different ones')
      await keeping(mesh, {}, async () => {})
      assert.deepEqual(left(), [])
    })
  })

  it('has settings whose faults are told where they stand', () => {
    const read = (own: string): unknown =>
      parseSidecarConfig(
        `apiVersion: ringfence.dev/v1alpha1
kind: Sidecar
metadata: { name: one }
spec:
  control: { url: "https://127.0.0.1:8443" }
  upstream: { address: 127.0.0.1 }
  listeners: [{ address: 127.0.0.1, port: 9042 }]
  audit: { directory: audit }
  nodeCertificate: ${own}
`,
        's.yaml',
      ).nodeCertificate
    assert.deepEqual(read('{ keystore: /a/node.pem, truststore: /a/roots.pem }'), {
      keystore: '/a/node.pem',
      truststore: '/a/roots.pem',
      reload: 'nodetool reloadssl',
    })
    for (const [own, message] of [
      ['{ keystore: node.pem, truststore: /a/b }', /keystore: expected an absolute path/],
      ['{ keystore: /a/b }', /missing key "truststore"/],
      ['{ keystore: /a/b, truststore: /a/b }', /each file is named once/],
      [
        '{ keystore: /a/b, truststore: /a/c, internode: { keystore: /a/b, truststore: /a/d } }',
        /each file is named once/,
      ],
      ['{ keystore: /a/b, truststore: /a/c, internode: { keystore: /a/d } }', /internode: missing key "truststore"/],
      ['{ keystore: /a/b, truststore: /a/c, reload: "" }', /reload/],
      ['{ keystore: /a/b, truststore: /a/c, tokenFile: t }', /tokenFile: expected an absolute path/],
      ['{ keystor: /a/b, truststore: /a/c }', /did you mean "keystore"/],
    ] as const)
      assert.throws(() => read(own), { code: 'CONFIG', message })
  })
})

/** Shows what is in its key store, and reads it again when it was told. Echoes what it is said. */
class FakeNode {
  readonly #server: Server
  readonly #sockets = new Set<TLSSocket>()

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(mesh: Mesh, folder: string, told: string, port = 0): Promise<FakeNode> {
    const { certificatePem, keyPem } = await mesh.admin.mint({ spiffeId: nodeId, ttlMs: 60_000, ipAddresses: [] })
    let context: SecureContext = createSecureContext({ key: keyPem, cert: certificatePem })
    let read = existsSync(told) ? statSync(told).size : 0
    const server = createServer()
    const node = new FakeNode(server)
    server.on('connection', (raw) => {
      const times = existsSync(told) ? statSync(told).size : 0
      if (times !== read) {
        const pem = readFileSync(join(folder, 'node.pem'))
        context = createSecureContext({ key: pem, cert: pem })
        read = times
      }
      const socket = new TLSSocket(raw, { isServer: true, secureContext: context })
      node.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('data', (chunk) => socket.write(chunk))
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return node
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async serial(): Promise<string> {
    const socket = connect({ host: '127.0.0.1', port: this.port, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { serialNumber } = socket.getPeerX509Certificate()!
    socket.destroy()
    return serialNumber
  }

  async conversation(): Promise<{ talk: () => Promise<string>; end: () => void }> {
    const socket = connect({ host: '127.0.0.1', port: this.port, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const talk = async (): Promise<string> => {
      socket.write('said')
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      return chunk.toString()
    }
    return { talk, end: () => socket.destroy() }
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}
