/** Pages show documents that load, command lines that the program takes, links that lead to a heading, and code that a test runs. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, it } from 'node:test'
import type { Command } from 'commander'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { programFor } from '../src/cli/program.ts'
import { parseGatewayConfig } from '../src/gateway/config.ts'
import { loadPolicy } from '../src/policy/load.ts'
import { parseSidecarConfig } from '../src/sidecar/config.ts'
import { anchorsOf, blocksOf, commandProblem, commandsOf, linksOf } from './pages.ts'

const root = join(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const pages = globSync(['*.md', '{bench,docs}/**/*.md'], { cwd: root }).sort()

const apiVersion = 'ringfence.dev/v1alpha1'
const gateway = {
  control: { url: 'https://10.0.0.5:8443' },
  listeners: [{ address: '10.0.0.21', port: 9242 }],
  advertise: [{ address: '203.0.113.7', port: 9042 }],
}
const gatewayOf = (spec: object): string =>
  stringify({ apiVersion, kind: 'Gateway', metadata: { name: 'g' }, spec: { ...gateway, ...spec } })
const policyOf = (rule: object): string => {
  const spec = { subjects: [{ spiffeId: 'spiffe://demo.local/svc/a' }], ...rule }
  return stringify({ apiVersion, kind: 'AccessPolicy', metadata: { name: 'p' }, spec })
}

/** A block without `apiVersion` is a part of a document, by its first key. */
const parts: Readonly<Record<string, (part: Record<string, object>) => void>> = {
  spec: ({ spec = {} }) => {
    if ('serviceAccountName' in spec) return // A Pod's.
    parseGatewayConfig(gatewayOf(spec), 'page')
  },
  listeners: ({ listeners }) => void parseGatewayConfig(gatewayOf({ listeners }), 'page'),
  keyspaces: (rule) => void loadPolicy(policyOf(rule), 'page'),
  // Cassandra's own, which test/production runs.
  authenticator: () => {},
  rpc_address: () => {},
}

/** Throws where it does not load. */
function load(text: string): void {
  const [first] = parseAllDocuments(text)
  const content = (first as { toJS(): object }).toJS() as { readonly apiVersion?: string; readonly kind?: string }
  if (content.apiVersion !== apiVersion) {
    const [key = ''] = Object.keys(content)
    const part = parts[key]
    assert.ok(part, `nothing says what a block is that begins with ${key}`)
    part(content as Record<string, object>)
  } else if (content.kind === 'Gateway') parseGatewayConfig(text, 'page')
  else if (content.kind === 'Sidecar') parseSidecarConfig(text, 'page')
  // `policy test` reads it with the files that it names.
  else if (content.kind !== 'PolicyTest') {
    // As the control plane of that mesh takes it.
    const [, mesh = 'prod.example'] = /spiffe:\/\/(demo\.local|prod\.example)\//.exec(text) ?? []
    loadPolicy(text, 'page', mesh)
  }
}

describe('what pages show', async () => {
  const program: Command = await programFor('')

  it('documents load: policies, those of proxies, and parts of them', () => {
    const problems: string[] = []
    let count = 0
    // Its documents need one another: `policy/data/compile.test.ts` loads them together.
    for (const file of pages.filter((one) => one !== 'docs/policy-data.md'))
      for (const { language, text, line } of blocksOf(read(file)).filter((block) => block.language === 'yaml')) {
        count++
        try {
          load(text)
        } catch (reason) {
          problems.push(`${file}:${line} (${language}): ${reason instanceof Error ? reason.message : reason}`)
        }
      }
    assert.deepEqual(problems, [])
    assert.ok(count > 30, `${count} documents`)
  })

  it('command lines name verbs and flags that there are', () => {
    const found = pages.flatMap((file) => commandsOf(read(file)).map((words) => ({ file, words })))
    const problems = found.flatMap(({ file, words }) => {
      const problem = commandProblem(program, words)
      return problem === undefined ? [] : [`${file}: ringfence ${words.join(' ')}: ${problem}`]
    })
    assert.deepEqual(problems, [])
    assert.ok(found.length > 150, `${found.length} command lines`)
  })

  it('every verb stands on a page', () => {
    const text = pages.map(read).join('\n')
    const verbsOf = (command: Command, path: string): string[] =>
      command.commands.flatMap((one) => {
        const own = `${path} ${one.name()}`
        return one.commands.length === 0 ? [own] : verbsOf(one, own)
      })
    const verbs = verbsOf(program, 'ringfence')
    assert.ok(verbs.length > 20)
    const absent = verbs.filter((verb) => !text.replaceAll('\n', ' ').includes(verb))
    // `npm start` is how people start it.
    assert.deepEqual(absent, ['ringfence demo'])
  })

  it('links lead to headings that there are', () => {
    const problems = pages.flatMap((file) =>
      linksOf(read(file)).flatMap(({ path, anchor }) => {
        const target = path === '' ? file : normalize(join(dirname(file), path))
        if (!target.endsWith('.md')) return []
        return anchorsOf(read(target)).has(anchor) ? [] : [`${file}: ${target} has no heading #${anchor}`]
      }),
    )
    assert.deepEqual(problems, [])
  })

  it('the index has every page', () => {
    const index = read('docs/README.md')
    const absent = pages
      .filter((file) => file.startsWith('docs/') && !file.startsWith('docs/decisions/') && file !== 'docs/README.md')
      .filter((file) => !index.includes(`](${file.slice('docs/'.length)}`))
    assert.deepEqual(absent, [])
  })

  it('the lines that read a token are those of the applications that `npm run outage` runs, and at most ten', () => {
    const applications = { node: 'node.ts', python: 'main.py', java: 'Outage.java', go: 'main.go' }
    const bare = (code: string): string => code.replaceAll(/\s/g, '')
    for (const [driver, file] of Object.entries(applications)) {
      const source = read(`test/outage/applications/${file}`)
      const block = blocksOf(read(`docs/drivers/${driver}.md`)).find(({ name }) => name === 'token')
      assert.ok(block, driver)
      assert.ok(block.text.trimEnd().split('\n').length <= 10, driver)
      const shown = block.text
        .replace('RINGFENCE_TOKEN_FILE', 'RF_TOKEN_FILE')
        .replace(/process\.env\.|os\.environ\[/, (found) => (found.startsWith('os') ? 'env[' : 'env.'))
      const plain = source
        .replaceAll(/"""[\s\S]*?"""/g, '')
        .replaceAll(file.endsWith('.ts') ? /override |: (?:string|auth\.Authenticator)\b|!/g : /$^/g, '')
      const run = bare(plain)
      if (driver === 'python') {
        // Two classes, between which other lines may stand.
        for (const part of shown
          .split(/^(?=class )/m)
          .map(bare)
          .filter((one) => one !== ''))
          assert.ok(run.includes(part), `${driver}: ${part}`)
      } else assert.ok(run.includes(bare(shown)), `${driver}: ${bare(shown)}`)
    }
  })
})

describe('the lines that come on behalf of somebody', () => {
  it('are those of the programs that test/e2e/log-ins runs, and at most ten', () => {
    const programs = { node: 'node.ts', python: 'main.py', java: 'LogIns.java', go: 'main.go' }
    for (const [driver, file] of Object.entries(programs)) {
      const block = blocksOf(read(`docs/drivers/${driver}.md`)).find(({ name }) => name === 'behalf')
      assert.ok(block, driver)
      const text = block.text.trimEnd()
      assert.ok(text.split('\n').length <= 10, driver)
      assert.ok(read(`test/e2e/log-ins/programs/${file}`).includes(text), driver)
    }
  })
})

describe('the reading of pages', async () => {
  const program = await programFor('')
  const problemOf = (text: string): string | undefined => {
    const [words] = commandsOf(text)
    assert.ok(words, text)
    return commandProblem(program, words)
  }

  it('finds a verb and a flag that are not there, wherever they stand', () => {
    for (const [text, problem] of [
      ['`ringfence policy aply -f x`', 'there is no verb aply'],
      ['`ringfence statsu`', 'there is no verb statsu'],
      ['```sh\nringfence status --wide\n```', 'status has no --wide'],
      ['```ini\nExecStart=/usr/local/bin/x\n```\n`ringfence control --port 1`', 'control has no --port'],
      ['- a\n  ```sh\n  ringfence agent --out x \\\n    --tokn y\n  ```', 'agent has no --tokn'],
    ] as const)
      assert.equal(problemOf(text), problem, text)
  })

  it('takes those that are there, with what a shell puts behind them', () => {
    for (const text of [
      '`ringfence policy apply -f x`',
      '```sh\nringfence status | grep --quiet x\n```',
      '```sh\nringfence bundle show --state-dir x > bundle.pem\n```',
      '`ringfence cqlsh -e "SELECT 1" --tty`',
      '`ringfence token generate --role gateway --listener-identity spiffe://a/b …`',
      '```sh\nnode bin/ringfence.mjs x509 mint --spiffe-id=spiffe://a/b --out x\n```',
    ])
      assert.equal(problemOf(text), undefined, text)
  })

  it('finds blocks in lists, and headings with code in them', () => {
    assert.deepEqual(
      blocksOf('1. a\n   ```yaml\n   a:\n     b: 1\n   ```\n').map(({ text, line }) => [parse(text), line]),
      [[{ a: { b: 1 } }, 2]],
    )
    assert.deepEqual(
      [...anchorsOf('# Go: `gocql` 2\n## What is not there, yet\n')],
      ['go-gocql-2', 'what-is-not-there-yet'],
    )
  })
})
