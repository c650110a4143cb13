/**
 * `ringfence agent --workload-api` beside a real control plane, for clients of SPIFFE as they are published: go-spiffe, spiffe-helper and
 * PyPI's `spiffe`. None of them is changed; the address is all that they are told.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { certificatesOf } from '../../src/identity/chain.ts'
import { goPrograms, pythonEnvironment } from '../e2e/drivers/toolchain.ts'
import { endPrograms, Program } from './program.ts'

const here = join(import.meta.dirname, 'workload-api')
const helperProgram = 'github.com/spiffe/spiffe-helper/cmd/spiffe-helper'
const id = 'spiffe://demo.local/svc/orders'
const waitMsMax = 120_000

interface Said {
  readonly event: string
  readonly chain?: readonly string[]
  readonly roots?: readonly string[]
  readonly tls?: string
  readonly [more: string]: unknown
}

describe('the Workload API, for clients of SPIFFE as they are published', () => {
  let folder: string
  const children = new Set<ChildProcess>()
  let go: Awaited<ReturnType<typeof goPrograms>>
  let python: Awaited<ReturnType<typeof pythonEnvironment>>

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-wla-'))
    go = await goPrograms('go-spiffe', join(here, 'client'), [helperProgram])
    python = await pythonEnvironment('python-spiffe', join(here, 'requirements.txt'))
    if (process.env.CI === 'true') for (const each of [go, python]) assert.ok(!('absent' in each), JSON.stringify(each))
  })
  after(() => {
    endPrograms()
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  function start(command: string, args: readonly string[], socket: string): ChildProcess {
    const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: `unix://${socket}` }
    const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'inherit'] })
    children.add(child)
    return child
  }

  /** Follows what a client of ours says; `ends` with its input. */
  function client(command: string, args: readonly string[], socket: string) {
    const said: Said[] = []
    const child = start(command, args, socket)
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    createInterface(child.stdout!).on('line', (line) => said.push(JSON.parse(line) as Said))
    const sources = (): Said[] => said.filter(({ event }) => event === 'source')
    return { said, sources, leaves: () => new Set(sources().map(({ chain }) => chain?.[0])), child, ended }
  }

  async function agentOf(mesh: Mesh, name: string, joinToken?: string) {
    const socket = join(folder, `${name}.sock`)
    const stateDir = join(folder, name)
    const agent = new Program(
      ['agent', '--control-url', mesh.control.url, '--state-dir', stateDir, '--workload-api', socket],
      { RINGFENCE_LOG: 'info', ...(joinToken === undefined ? {} : { RINGFENCE_AGENT_TOKEN: joinToken }) },
    )
    await agent.says(/serving the Workload API/)
    return { agent, socket, stateDir }
  }

  it('gives them an SVID and roots, and each renewal, also over a change of the root and a restart of the agent', async (t) => {
    if ('absent' in go) return t.skip(go.absent)
    const { bin } = go
    await withMesh({ svidTtlMs: 20_000 }, async (mesh) => {
      const { agent, socket, stateDir } = await agentOf(mesh, 'agent', await mesh.token(id, 'workload'))
      assert.equal(statSync(socket).mode & 0o777, 0o600)

      const helper = helperOf(socket, join(bin, 'spiffe-helper'))
      const clients = [client(join(bin, 'client'), [], socket)]
      if (!('absent' in python))
        clients.push(client(join(python.dir, 'bin', 'python'), [join(here, 'watch.py')], socket))

      for (const { said, leaves } of clients)
        await within('a client has had three certificates', () => {
          assert.deepEqual(
            said.filter(({ event }) => event === 'fault'),
            [],
          )
          return leaves().size >= 3
        })
      await within('spiffe-helper has told of two renewals', () => helper.signals() >= 2)

      const inUse = (): string[] => serialsOf(field(stateDir, 'certificatePem'))
      for (const { said, sources } of clients) {
        const [context, bundles] = said
        assert.equal(context?.event, 'context')
        assert.equal(context.id, id)
        assert.equal(context.svids, 1)
        assert.equal(context.chain?.length, 2)
        assert.deepEqual(context.roots, serialsOf(field(stateDir, 'bundlePem')))
        assert.deepEqual(bundles, { event: 'bundles', domains: [context.domain] })
        assert.match(String(context.domain), /^(spiffe:\/\/)?demo\.local$/)
        for (const { chain } of sources()) assert.equal(chain?.[1], context.chain[1])
        await within('it has the one that is in force', () => sources().at(-1)?.chain?.[0] === inUse()[0])
      }
      const [goSpiffe, pySpiffe] = clients
      // Both ends of a handshake had the certificate that the source had just told of.
      for (const { chain, tls } of goSpiffe!.sources()) assert.equal(tls, chain?.[0])
      const refused = (said: readonly Said[]) => said.filter(({ event }) => event === 'refused')
      assert.deepEqual(
        refused(goSpiffe!.said).map(({ call, code }) => [call, code]),
        ['FetchJWTSVID', 'FetchJWTBundles', 'ValidateJWTSVID'].map((call) => [call, 'Unimplemented']),
      )
      if (pySpiffe !== undefined) {
        assert.equal(refused(pySpiffe.said).length, 2)
        for (const { text } of refused(pySpiffe.said)) assert.match(String(text), /not served here/)
      }

      const key = createPrivateKey(helper.file('key.pem'))
      await within('its files are of one certificate', () =>
        new X509Certificate(helper.file('svid.pem')).checkPrivateKey(createPrivateKey(helper.file('key.pem'))),
      )
      assert.equal(key.asymmetricKeyType, 'ec')
      assert.equal(statSync(join(helper.dir, 'key.pem')).mode & 0o777, 0o600)
      assert.deepEqual(serialsOf(helper.file('bundle.pem')), serialsOf(field(stateDir, 'bundlePem')))
      assert.equal(helper.starts(), 1)

      // Another root is told before it signs; then SVIDs that it stands behind are good in a handshake.
      const issuer = goSpiffe!.sources().at(-1)?.chain?.[1]
      await mesh.admin.prepareAuthority({ kind: 'root' })
      const latest = (): Said | undefined => goSpiffe!.sources().at(-1)
      await within('both roots are trusted', () => latest()?.roots?.length === 2)
      await within('also in files', () => serialsOf(helper.file('bundle.pem')).length === 2)
      await mesh.admin.activateAuthority({ kind: 'root', force: true })
      await within('another authority signs', () => latest()?.chain?.[1] !== issuer)
      assert.equal(latest()?.tls, latest()?.chain?.[0])

      agent.child.kill('SIGTERM')
      assert.equal((await agent.ended).code, 0)
      assert.equal(existsSync(socket), false)
      assert.doesNotMatch(agent.out + agent.err, /PRIVATE KEY|"level":(50|60)/)
      const counts = clients.map(({ leaves }) => leaves().size)
      const again = await agentOf(mesh, 'agent')
      for (const [index, { leaves }] of clients.entries())
        await within('it has a later certificate of the new agent', () => leaves().size > counts[index]!)
      const signals = helper.signals()
      await within('so has spiffe-helper', () => helper.signals() > signals)
      for (const { child, ended } of clients) {
        child.stdin?.end()
        assert.equal(await ended, 0)
      }
      helper.child.kill('SIGTERM')
      again.agent.child.kill('SIGTERM')
      assert.equal((await again.agent.ended).code, 0)
    })
  })

  it('is for a workload that wants it: flags that do not fit are told', async () => {
    for (const [args, message] of [
      [[], /give --out; or --workload-api and --state-dir/],
      [['--workload-api', 'x.sock'], /give --out; or --workload-api and --state-dir/],
      [['--state-dir', folder], /without --out there are no files/],
      [
        ['--state-dir', folder, '--workload-api', 'x.sock', '--pem-bundle', 'x.pem'],
        /without --out there are no files/,
      ],
      [['--out', folder, '--workload-api', 'x.sock', '--once'], /--once ends when the files are written/],
      [['--out', folder, '--workload-api', 'x.sock', '--workload-api-mode', '0777'], /Allowed choices are 0600, 0660/],
    ] as const) {
      const { code, err } = await Program.run(['agent', ...args])
      assert.equal(code, 64, err)
      assert.match(err, message)
    }
  })

  /** spiffe-helper, with a program of the operator's that hears of renewals by a signal. */
  function helperOf(socket: string, program: string) {
    const dir = mkdtempSync(join(folder, 'helper-'))
    const heard = join(dir, 'heard')
    const script = join(dir, 'told.sh')
    writeFileSync(
      script,
      `echo start >> '${heard}'\ntrap "echo signal >> '${heard}'" USR1\nwhile [ -d '${dir}' ]; do sleep 0.1; done\n`,
    )
    const config = join(dir, 'helper.conf')
    writeFileSync(
      config,
      `agent_address = "${socket}"
cmd = "/bin/sh"
cmd_args = "${script}"
cert_dir = "${dir}"
renew_signal = "SIGUSR1"
svid_file_name = "svid.pem"
svid_key_file_name = "key.pem"
svid_bundle_file_name = "bundle.pem"
`,
    )
    const child = start(program, ['-config', config], socket)
    child.stdout?.resume()
    const lines = (): string[] => (existsSync(heard) ? readFileSync(heard, 'utf8').split('\n') : [])
    return {
      child,
      dir,
      file: (name: string): string => readFileSync(join(dir, name), 'utf8'),
      starts: (): number => lines().filter((line) => line === 'start').length,
      signals: (): number => lines().filter((line) => line === 'signal').length,
    }
  }
})

/** Of the agent's identity on disk. */
function field(stateDir: string, name: 'certificatePem' | 'bundlePem'): string {
  return (JSON.parse(readFileSync(join(stateDir, 'identity.json'), 'utf8')) as Record<string, string>)[name] ?? ''
}

/** As Go and Python write them. */
function serialsOf(pem: string): string[] {
  return certificatesOf(pem).map(({ serialNumber }) => serialNumber.toLowerCase().replace(/^0+/, ''))
}

/** Renewals are seconds apart, and the machine may be busy. */
async function within(what: string, probe: () => boolean): Promise<void> {
  for (let spentMs = 0; spentMs < waitMsMax; spentMs += 30_000) {
    try {
      await eventually(what, probe)
      return
    } catch (reason) {
      if (spentMs + 30_000 >= waitMsMax || !(reason instanceof Error && reason.message.startsWith('waited')))
        throw reason
    }
  }
}
