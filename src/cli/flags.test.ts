import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Command, Option } from 'commander'
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
    ]
    for (const [args, message] of faults) {
      const lines = told(['control', ...args])
      assert.equal(lines.length, 1, lines.join())
      assert.match(lines[0]!, message)
    }
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
