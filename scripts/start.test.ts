/** A role that stays in memory starts without what strips the types; `bin/command.mjs` says how. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ManualClock } from '../src/base/clock.fixture.ts'
import { CertificateAuthority } from '../src/control/ca.ts'
import { parseSpiffeId } from '../src/identity/spiffe.ts'

interface Command {
  readonly file: string
  readonly args: string[]
  readonly env: NodeJS.ProcessEnv
}

const program = join(import.meta.dirname, '..', 'bin', 'command.mjs')
const tell = `data:text/javascript,process.on('exit',()=>console.log(process.moduleLoadList.some((name)=>name.includes('amaro'))))`

describe('starting a sidecar', () => {
  let folder: string
  let commandOf: (args: readonly string[]) => Command
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringfence-start-'))
    ;({ commandOf } = (await import(program)) as { commandOf: typeof commandOf })
  })
  after(() => rmSync(folder, { recursive: true }))

  /** Whether it loaded the stripper on its way to finding that there is no configuration. */
  function strips(caches: string): boolean {
    const { XDG_CACHE_HOME: kept, NODE_COMPILE_CACHE: ofRun } = process.env
    process.env.XDG_CACHE_HOME = caches
    delete process.env.NODE_COMPILE_CACHE
    try {
      const { file, args, env } = commandOf(['sidecar', '--config', join(folder, 'none.yaml')])
      const ran = spawnSync(file, ['--import', tell, ...args], { env, encoding: 'utf8' })
      assert.match(ran.stderr, /cannot read/)
      return ran.stdout.trim() === 'true'
    } finally {
      if (kept === undefined) delete process.env.XDG_CACHE_HOME
      else process.env.XDG_CACHE_HOME = kept
      if (ofRun !== undefined) process.env.NODE_COMPILE_CACHE = ofRun
    }
  }

  it('loads no type stripper, the first time too', () => {
    const caches = join(folder, 'caches')
    assert.equal(strips(caches), false)
    assert.equal(strips(caches), false)
    const files = readdirSync(join(caches, 'ringfence', 'code'))
    assert.equal(files.length, 1)
    assert.match(files[0] ?? '', /^[0-9a-f]{16}\.code$/)
  })

  it('works where nothing can be kept, with the stripper', () => {
    const noFolder = join(folder, 'a-file')
    writeFileSync(noFolder, '')
    assert.equal(strips(noFolder), true)
  })

  it('sends no session tickets by TLS, which nobody could resume by, where OpenSSL would', async () => {
    const ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', new ManualClock(Date.now()))
    const { certificatePem, keyPem } = await ca.mint({
      spiffeId: parseSpiffeId('spiffe://demo.local/svc/a'),
      ttlMs: 3_600_000,
    })
    const { file, args, env } = commandOf(['sidecar'])
    const flags = args.slice(
      0,
      args.findIndex((arg) => arg.endsWith('main.ts')),
    )
    const ticketsWith = (own: readonly string[]): string => {
      const pems = JSON.stringify({ cert: certificatePem, key: keyPem, ca: ca.bundlePem })
      const ran = spawnSync(file, [...own, '--input-type=module', '--eval', tickets], {
        env: { ...env, PEMS: pems },
        encoding: 'utf8',
      })
      assert.equal(ran.status, 0, ran.stderr)
      return ran.stdout.trim()
    }
    assert.equal(ticketsWith(flags), '0')
    assert.equal(ticketsWith(flags.filter((flag) => !flag.startsWith('--openssl-config'))), '2')
  })
})

/** Prints how many tickets came before the first byte of a connection with the settings of our listeners. */
const tickets = `
import { constants } from 'node:crypto'
import { connect, createServer } from 'node:tls'
const pems = JSON.parse(process.env.PEMS)
const settings = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET, ...pems }
const server = createServer(settings, (socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
  const { port } = server.address()
  const socket = connect({ port, host: '127.0.0.1', ca: pems.ca, checkServerIdentity: () => undefined })
  let count = 0
  socket.on('session', () => count++)
  socket.once('data', () => {
    console.log(count)
    server.close()
    socket.destroy()
  })
})`
