/**
 * Logs in by each piece of evidence of `RF_CASES` with `cqlsh`, asks for what is permitted and for what is not, and prints a line for each
 * (`test/e2e/log-ins/cases.ts` says what). Each is a run of its own, some of them side by side, for cqlsh ends with its session.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** They mostly wait: for Python to start, and one for the time after which its driver gives up. */
const besideMax = 3

const env = process.env
const home = mkdtempSync(join(tmpdir(), 'ringfence-cqlsh-'))
const script = join(home, 'script.cql')
writeFileSync(script, `${env.RF_PERMITTED};\n${env.RF_FORBIDDEN};\n`)

interface Answer {
  readonly out: string
  readonly err: string
}

/** As docs/drivers/cqlsh.md has it: what is secret stands in a file of one's own, not among the arguments. */
async function cqlsh(
  index: number,
  user: string,
  password: string,
  certFile: string,
  keyFile: string,
): Promise<Answer> {
  const rc = join(home, `cqlshrc-${index}`)
  const own = certFile === '' ? [] : [`usercert = ${certFile}`, `userkey = ${keyFile}`]
  const lines = ['[ui]', 'color = off', '[ssl]', `certfile = ${env.RF_CA}`, 'validate = true', ...own]
  writeFileSync(rc, `${lines.join('\n')}\n`, { mode: 0o600 })
  const flags = ['--cqlshrc', rc, '--ssl', '--no-color', '--connect-timeout=10', '--request-timeout=20']
  if (password !== '') {
    const credentials = join(home, `credentials-${index}`)
    const account = ['[plain_text_auth]', `username = ${user}`, `password = ${password}`]
    writeFileSync(credentials, `${account.join('\n')}\n`, { mode: 0o600 })
    flags.push('--credentials', credentials)
  }
  const child = spawn(env.RF_CQLSH ?? 'cqlsh', [...flags, '-f', script, env.RF_HOST!, env.RF_PORT!], {
    env: { ...env, HOME: home, PYTHONIOENCODING: 'utf-8', LC_ALL: 'C.UTF-8' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  return { out, err }
}

const say = (...words: string[]): boolean =>
  process.stdout.write(`${words.map((word) => word.replace(/\s+/g, ' ').trim()).join('\t')}\n`)

/** The first value below the line of dashes. */
const valueIn = (out: string): string | undefined => /^-+(?:\+-+)*\n\s*(.*?)\s*(?:\||\n)/m.exec(out)?.[1]

async function doCase(line: string, index: number): Promise<void> {
  const [name = '', user = '', password = '', certFile = '', keyFile = ''] = line.split('\t')
  const { out, err } = await cqlsh(index, user, password, certFile, keyFile)
  const value = valueIn(out)
  const denied = /Unauthorized: (.*)/.exec(err)?.[1]
  if (value !== undefined) say(name, 'in', value, denied === undefined ? `failed: ${err}` : `denied: ${denied}`)
  else say(name, /Connection error/.test(err) ? 'refused' : 'failed', `${err} ${out}`)
}

const cases = readFileSync(env.RF_CASES!, 'utf8').split('\n').filter(Boolean)
const last = cases.length - 1
const left = cases.slice(0, last).entries()
// Each takes the next of them.
const beside = Array.from({ length: besideMax }, async () => {
  for (const [index, line] of left) await doCase(line, index)
})
await Promise.all(beside)
await doCase(cases[last]!, last)
rmSync(home, { recursive: true, force: true })
