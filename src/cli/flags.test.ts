import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Command, Option } from 'commander'
import { startControl } from '../control/main.ts'
import { readInput } from './options.ts'
import { programFor } from './program.ts'

/** What a flag's value is, by the word in its angle brackets, and a value that is none. */
const typed: ReadonlyMap<string, string> = new Map([
  ['duration', 'foo'],
  ['address:port', 'foo'],
  ['count', 'foo'],
])

interface Flag {
  readonly command: string
  readonly option: Option
  /** The word in angle brackets. */
  readonly word: string
}

function flagsOf(command: Command, path: string): Flag[] {
  const own = command.options.flatMap((option): Flag[] => {
    const word = /<(.+)>/.exec(option.flags)?.[1]
    return word === undefined ? [] : [{ command: path, option, word }]
  })
  return [...own, ...command.commands.flatMap((each) => flagsOf(each, `${path} ${each.name()}`.trim()))]
}

describe('flags', async () => {
  const program = await programFor('')
  const flags = flagsOf(program, '')

  it('each typed value is read where it is given, so that a wrong one is told with the name of its flag', () => {
    const found = flags.filter(({ word }) => typed.has(word))
    assert.ok(found.length > 12, `${found.length} typed flags`)
    for (const { command, option, word } of found) {
      if (option.argChoices !== undefined) continue
      assert.ok(option.parseArg, `${command} ${option.flags} reads its value`)
      assert.throws(
        () => option.parseArg?.(typed.get(word) ?? '', undefined),
        { code: 'commander.invalidArgument' },
        `${command} ${option.flags}`,
      )
    }
  })

  it('help shows defaults as people write them', () => {
    const helps = (command: Command): string[] => [command.helpInformation(), ...command.commands.flatMap(helps)]
    for (const text of helps(program)) assert.doesNotMatch(text, /default: (\d{4,}|\{)/)
  })

  it('a wrong value ends with 64, names flag and value, and says what is right', () => {
    const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))
    const ran = spawnSync(process.execPath, [bin, 'control', '--listen', 'foo'], { encoding: 'utf8' })
    assert.equal(ran.status, 64)
    assert.match(
      ran.stderr,
      /'--listen <address:port>' argument 'foo' is invalid\. an address is written 127\.0\.0\.1:8443/,
    )
  })

  it('a life of certificates out of its range is told with the others', () => {
    for (const [ttl, good] of [
      ['1s', false],
      ['25h', false],
      ['10s', true],
      ['24h', true],
    ] as const) {
      const { option } = flags.find(({ command, option }) => command === 'control' && option.long === '--svid-ttl')!
      if (good) assert.equal(typeof option.parseArg?.(ttl, undefined), 'number')
      else assert.throws(() => option.parseArg?.(ttl, undefined), /5m to 24h/)
    }
  })

  it('a life of an authority that is too short for what it signs is told, and nothing is started', () => {
    const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))
    const folder = mkdtempSync(join(tmpdir(), 'flags-'))
    for (const [lives, told] of [
      [['--issuing-ttl', '5h59m'], /--issuing-ttl is less than six times --svid-ttl/],
      [['--svid-ttl', '24h', '--issuing-ttl', '5d'], /--issuing-ttl is less than six times --svid-ttl/],
      [['--root-ttl', '29d'], /--root-ttl is less than --issuing-ttl/],
    ] as const) {
      const args = [bin, 'control', '--state-dir', join(folder, 'c'), ...lives]
      const ran = spawnSync(process.execPath, args, { encoding: 'utf8' })
      assert.equal(ran.status, 64, ran.stderr)
      assert.match(ran.stderr, told)
    }
    assert.ok(!existsSync(join(folder, 'c')))
    rmSync(folder, { recursive: true })
  })

  it('a file that cannot be read is told by its setting, why, and what to do', () => {
    const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))
    const folder = mkdtempSync(join(tmpdir(), 'flags-'))
    const env = { ...process.env, RINGFENCE_AGENT_TOKEN_FILE: '/nope' }
    const args = [bin, 'agent', '--out', folder]
    const ran = spawnSync(process.execPath, args, { encoding: 'utf8', env })
    assert.equal(ran.status, 65, ran.stderr)
    assert.match(
      ran.stderr,
      /the token file of RINGFENCE_AGENT_TOKEN_FILE: \/nope cannot be read: there is no such file/,
    )
    assert.match(ran.stderr, /look at its name/)
    assert.throws(() => readInput('/', '--policy'), {
      message: '--policy: / cannot be read: it is a folder',
      hint: /name a file/,
    })
    assert.throws(() => readInput('/dev/null/x'), { message: /a part of its path is no folder/ })
    rmSync(folder, { recursive: true })
  })

  it('a control plane says what to do where its address is in use, or none of this host', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const folder = mkdtempSync(join(tmpdir(), 'flags-'))
    const options = { stateDir: join(folder, 'c'), trustDomain: 'demo.local' }
    await assert.rejects(startControl({ ...options, listen: { address: '127.0.0.1', port } }), {
      message: `another process listens at 127.0.0.1:${port}`,
      hint: /shows which; stop it, or choose another port/,
    })
    await assert.rejects(startControl({ ...options, listen: { address: '203.0.113.9', port: 1 } }), {
      message: /^cannot listen at 203\.0\.113\.9:1/,
      hint: 'the address is none of this host',
    })
    other.close()
    rmSync(folder, { recursive: true })
  })

  it('all faults of a command line are told at once, each as alone', () => {
    const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))
    const told = (args: string[], env: NodeJS.ProcessEnv = {}) => {
      const ran = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', env: { ...process.env, ...env } })
      assert.equal(ran.status, 64, ran.stderr)
      return ran.stderr.split('\n').filter((line) => line.startsWith('error: '))
    }
    const faults: [string[], RegExp][] = [
      [['--listen', 'foo'], /'--listen <address:port>' argument 'foo' is invalid\. an address is written/],
      [['--svid-ttl', 'soon'], /'--svid-ttl <duration>' argument 'soon' is invalid\. a duration is written/],
      [['--output', 'xml'], /'-o, --output <format>' argument 'xml' is invalid\. Allowed choices are table, json/],
      [['--trust-domian', 'x'], /unknown option '--trust-domian'/],
      [['--colour'], /unknown option '--colour'/],
      [
        ['--trust-domain', 'Bad Domain'],
        /'--trust-domain <name>' argument 'Bad Domain' is invalid\. not a trust domain/,
      ],
      [['--ip', 'bar'], /'--ip <address>' argument 'bar' is invalid\. not an IP address: bar/],
      [['--dns', '-x-'], /'--dns <name>' argument '-x-' is invalid\. not a host name: -x-/],
    ]
    for (const [args, message] of faults) {
      const lines = told(['control', ...args])
      assert.equal(lines.length, 1, lines.join())
      assert.match(lines[0]!, message)
    }
    // What a value means is looked at with how it is written.
    const ofToken: [string[], RegExp][] = [
      [['--spiffe-id', 'foo'], /'--spiffe-id <id>' argument 'foo' is invalid\. .*spiffe:\/\/<trust domain>/],
      [['--role', 'king'], /'--role <role>' argument 'king' is invalid\. Allowed choices are/],
      [['--ip', 'bar'], /'--ip <address>' argument 'bar' is invalid\. not an IP address: bar/],
      [['--dns', '-x-'], /'--dns <name>' argument '-x-' is invalid\. not a host name: -x-/],
      [['--listener-identity', 'baz'], /'--listener-identity <id>' argument 'baz' is invalid/],
      [['--ttl', '25h'], /'--ttl <duration>' argument '25h' is invalid\. it is to be at most 24h/],
    ]
    const lines = told(['token', 'generate', ...ofToken.flatMap(([args]) => args)])
    assert.equal(lines.length, ofToken.length, lines.join('\n'))
    for (const [, message] of ofToken)
      assert.ok(
        lines.some((line) => message.test(line)),
        String(message),
      )
    assert.equal(told(['agent', '--out', 'x', '--control-url', 'foo', '--spiffe-id', 'x']).length, 2)
    assert.equal(told(['x509', 'mint', '--spiffe-id', 'x', '--ip', 'x', '--out', 'x']).length, 2)
    const all = told(['control', ...faults.flatMap(([args]) => args)])
    assert.equal(all.length, faults.length, all.join('\n'))
    for (const [, message] of faults)
      assert.ok(
        all.some((line) => message.test(line)),
        String(message),
      )
    const proxy = told(['sidecar', '--state-dri', 'x', 'what'])
    assert.deepEqual(
      [/required option '--config/, /unknown option '--state-dri'/].filter(
        (wanted) => !proxy.some((line) => wanted.test(line)),
      ),
      [],
      proxy.join('\n'),
    )
    const [fromEnvironment, ofFlag] = told(['agent', '--role', 'king', '--out', 'x'], { RINGFENCE_AGENT_ROLE: 'queen' })
    assert.match(String(fromEnvironment ?? ofFlag), /king/)
    assert.match(told(['control', 'what'])[0] ?? '', /too many arguments/)
    assert.equal(told(['control', '--listen']).length, 1)
    assert.match(told(['control', ...Array.from({ length: 30 }, (_, i) => `--x${i}`)]).at(-1) ?? '', /and 10 more/)
    assert.match(told(['policy', '--nothing'])[0] ?? '', /unknown option '--nothing'/)
  })
})
