/** A role that stays in memory starts without what strips the types; `bin/command.mjs` says how. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { ManualClock } from '../src/base/clock.fixture.ts'
import { CertificateAuthority } from '../src/control/ca.ts'
import { parseSpiffeId } from '../src/identity/spiffe.ts'
import { Installation } from './start.fixture.ts'

interface Command {
  readonly file: string
  readonly args: string[]
  readonly env: NodeJS.ProcessEnv
}

const program = join(import.meta.dirname, '..', 'bin', 'command.mjs')
const tell = `data:text/javascript,process.on('exit',()=>console.log(process.moduleLoadList.some((name)=>name.includes('amaro'))))`

/** Who owns nothing here, and has no line in the list of users. */
const stranger = 54_321
const isRoot = process.getuid?.() === 0
const strangerRuns = isRoot && spawnSync(process.execPath, ['--version'], { uid: stranger, gid: stranger }).status === 0

describe('the code without its types', () => {
  let folder: string
  let installation: Installation
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ringfence-code-'))
    chmodSync(folder, 0o755)
    installation = new Installation(join(folder, 'ringfence'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const only = (): string => {
    const files = readdirSync(installation.codeFolder)
    assert.equal(files.length, 1, files.join())
    assert.match(files[0] ?? '', /^[0-9a-f]{64}\.code$/)
    return join(installation.codeFolder, files[0]!)
  }

  it('is made at the first start, in the installation, and taken by each process and thread', async () => {
    for (const _ of ['made', 'there']) {
      const { strips, err } = await installation.start(['--others'])
      assert.deepEqual([strips, err], [[false, false, false], ''])
      only()
    }
  })

  it('is not looked for where a variable of the environment says, nor made there', async () => {
    const home = join(folder, 'home')
    const cwd = join(folder, 'somewhere')
    for (const path of [home, cwd]) mkdirSync(path)
    const environments: readonly NodeJS.ProcessEnv[] = [
      { HOME: undefined, XDG_CACHE_HOME: undefined },
      { HOME: '', XDG_CACHE_HOME: '', NODE_COMPILE_CACHE: '' },
      { HOME: home, XDG_CACHE_HOME: 'relative', RINGFENCE_CODE: join(home, 'other.code') },
      { XDG_CACHE_HOME: home },
    ]
    for (const env of environments) {
      const { strips, err } = await installation.start([], { env, cwd })
      assert.deepEqual([strips, err], [[false], ''], JSON.stringify(env))
    }
    assert.deepEqual([readdirSync(home), readdirSync(cwd)], [[], []])
    only()
  })

  it('comes from no other file, whatever the process is told', async () => {
    await installation.start()
    const elsewhere = join(folder, 'elsewhere.code')
    copyFileSync(only(), elsewhere)
    for (const key of [elsewhere, '../../../../elsewhere', 'f'.repeat(64)]) {
      assert.deepEqual((await installation.startRole(key)).strips, [true], key)
    }
  })

  const damages: Readonly<Record<string, (file: string) => void>> = {
    'is empty': (file) => truncateSync(file, 0),
    'ends in its digest': (file) => truncateSync(file, 10),
    'ends in its list': (file) => truncateSync(file, 100),
    'lacks a byte': (file) => truncateSync(file, statSync(file).size - 1),
    'is zeros, as a file may be when the power failed': (file) =>
      writeFileSync(file, Buffer.alloc(statSync(file).size)),
    'has other code': (file) => writeFileSync(file, readFileSync(file, 'latin1').replace(/= 1\n/, '= 2\n')),
  }
  it('is made anew where it is damaged', async () => {
    await installation.start()
    const whole = readFileSync(only())
    for (const [how, damage] of Object.entries(damages)) {
      const file = only()
      damage(file)
      assert.notDeepEqual(readFileSync(file), whole, how)
      const { strips, versions, err } = await installation.start()
      assert.deepEqual([strips, versions, err], [[false], [1], ''], how)
      assert.deepEqual(readFileSync(only()), whole, how)
    }
  })

  it('has what is loaded later, when an upgrade has taken the sources away', async () => {
    const { strips, versions, err } = await installation.start(['--later'])
    assert.deepEqual([strips, versions, err], [[false, false, false], [1, 2, 3], ''])
  })

  it('takes the place of a link, and not of what that points to', async () => {
    await installation.start()
    const file = only()
    const elsewhere = join(folder, 'elsewhere.code')
    writeFileSync(elsewhere, 'mine')
    rmSync(file)
    symlinkSync(elsewhere, file)
    assert.deepEqual((await installation.start()).strips, [false])
    assert.ok(lstatSync(only()).isFile())
    assert.equal(readFileSync(elsewhere, 'utf8'), 'mine')
  })

  it('is stripped in the process where the file ends before a module', async () => {
    await installation.start()
    const file = only()
    truncateSync(file, statSync(file).size - 200)
    const { strips, versions } = await installation.startRole(file.slice(-69, -5))
    assert.deepEqual([strips, versions], [[true], [1]])
  })

  it('is of what the sources say, and not of when they were written', async () => {
    await installation.start()
    const source = join(installation.root, 'src/version.ts')
    const { atime, mtime } = statSync(source)
    installation.write('src/version.ts', 'export const version: number = 2\n')
    utimesSync(source, atime, mtime)
    assert.deepEqual((await installation.start()).versions, [2])
    assert.equal(installation.codeFiles.length, 2)
    installation.write('src/version.test.ts', 'let it: number')
    await installation.start()
    assert.equal(installation.codeFiles.length, 2)
  })

  it('is one file where several start at once', async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => installation.start()))
    assert.deepEqual(
      all.map(({ strips, err }) => [strips, err]),
      all.map(() => [[false], '']),
    )
    only()
  })

  it('is removed a day after other sources took its place, with what a killed start left', async () => {
    const names = ['a', 'b', 'c'].map((digit) => `${digit.repeat(64)}.code`)
    mkdirSync(installation.codeFolder, { recursive: true })
    for (const name of [...names, `${names[0]}.0123456789abcdef`, 'notes.txt']) {
      writeFileSync(join(installation.codeFolder, name), '')
      const dayAgo = Date.now() / 1000 - 86_500
      if (name !== names[1]) utimesSync(join(installation.codeFolder, name), dayAgo, dayAgo)
    }
    await installation.start()
    const left = readdirSync(installation.codeFolder)
    assert.equal(left.length, 3, left.join())
    for (const name of [names[1]!, 'notes.txt']) assert.ok(left.includes(name), name)
  })

  const hindrances: Readonly<Record<string, readonly [words: RegExp, hinder: () => void]>> = {
    'a file is where its folder would be': [
      /EEXIST|ENOTDIR/,
      () => {
        mkdirSync(dirname(installation.codeFolder), { recursive: true })
        writeFileSync(installation.codeFolder, '')
      },
    ],
    'a folder is where it would be': [
      /EISDIR/,
      () => {
        const file = only()
        renameSync(file, `${folder}/old`)
        mkdirSync(file)
      },
    ],
    'a source cannot be packed': [
      /version\.ts has a space that is wider than a byte/,
      () => installation.write('src/version.ts', 'export const version: number = 1 // \u2003\n'),
    ],
  }
  for (const [how, [words, hinder]] of Object.entries(hindrances)) {
    it(`is stripped at the start, and why is said, where ${how}`, async () => {
      if (how.startsWith('a folder')) await installation.start()
      hinder()
      await stripsAndSays(words)
    })
  }

  it('is taken and not written by who may only read the installation', { skip: !strangerRuns }, async () => {
    await stripsAndSays(/EACCES/, stranger)
    assert.equal((await installation.start()).err, '')
    const { strips, err } = await installation.start([], { uid: stranger, env: { HOME: undefined } })
    assert.deepEqual([strips, err], [[false], ''])
    truncateSync(only(), 500)
    await stripsAndSays(/EACCES/, stranger)
  })

  async function stripsAndSays(words: RegExp, uid?: number): Promise<void> {
    const options = { env: { HOME: undefined }, ...(uid === undefined ? {} : { uid }) }
    const { strips, versions, err } = await installation.start(['--others'], options)
    assert.deepEqual(
      [strips, versions],
      [
        [true, true, true],
        [1, 1, 1],
      ],
    )
    assert.match(err, words)
    assert.match(err, /^note: types are stripped .*\n {2}hint: npm run build in .*\n$/)
  }
})

describe('starting a sidecar', () => {
  let folder: string
  let commandOf: (args: readonly string[]) => Command
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringfence-start-'))
    ;({ commandOf } = (await import(program)) as { commandOf: typeof commandOf })
  })
  after(() => rmSync(folder, { recursive: true }))

  it('loads no type stripper on its way to finding that there is no configuration', () => {
    const { file, args, env } = commandOf(['sidecar', '--config', join(folder, 'none.yaml')])
    const ran = spawnSync(file, ['--import', tell, ...args], { env, encoding: 'utf8' })
    assert.match(ran.stderr, /cannot read/)
    assert.equal(ran.stdout.trim(), 'false')
  })

  it('sends no session tickets by TLS, which nobody could resume by, where OpenSSL would', async () => {
    const ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', new ManualClock(Date.now()))
    const { certificatePem, keyPem } = await ca.mint({
      spiffeId: parseSpiffeId('spiffe://demo.local/svc/a'),
      ttlMs: 3_600_000,
    })
    const pems = JSON.stringify({ cert: certificatePem, key: keyPem, ca: ca.bundlePem })
    const ticketsWith = (own: NodeJS.ProcessEnv, isFlagKept = (_flag: string): boolean => true): string => {
      const { file, args, env } = commandWith(own)
      const flags = args
        .slice(
          0,
          args.findIndex((arg) => arg.endsWith('main.ts')),
        )
        .filter(isFlagKept)
      const code = ['--input-type=module', '--eval', tickets]
      const ran = spawnSync(file, [...flags, ...code], { env: { ...env, PEMS: pems }, encoding: 'utf8' })
      assert.equal(ran.status, 0, ran.stderr)
      return ran.stdout.trim()
    }
    assert.equal(ticketsWith({}), '0')
    assert.equal(
      ticketsWith({}, (flag) => !flag.startsWith('--openssl-config')),
      '2',
    )
    // Settings of the operator's own.
    const own = join(folder, 'own.cnf')
    const ours = readFileSync(join(import.meta.dirname, '..', 'bin', 'openssl.cnf'), 'utf8')
    writeFileSync(own, ours.replace('NumTickets = 0', 'NumTickets = 1'))
    assert.equal(ticketsWith({ OPENSSL_CONF: own }), '1')
    assert.equal(ticketsWith({ NODE_OPTIONS: `--openssl-config=${own}` }), '1')
  })

  /** As where these are the variables about OpenSSL that are set. */
  function commandWith({ OPENSSL_CONF, NODE_OPTIONS }: NodeJS.ProcessEnv): Command {
    const { OPENSSL_CONF: file, NODE_OPTIONS: flags } = process.env
    const set = (values: Readonly<Record<string, string | undefined>>): void => {
      for (const [name, value] of Object.entries(values)) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
    set({ OPENSSL_CONF, NODE_OPTIONS })
    try {
      return commandOf(['sidecar'])
    } finally {
      set({ OPENSSL_CONF: file, NODE_OPTIONS: flags })
    }
  }
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
