import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { auditLine } from './policy/audit-lines.fixture.ts'

const fixture = fileURLToPath(new URL('./command-lines.fixture.ts', import.meta.url))
const main = fileURLToPath(new URL('./main.ts', import.meta.url))
const examples = fileURLToPath(new URL('../../examples/policies/', import.meta.url))
const orders = 'spiffe://cli.local/svc/orders'

const policy = (spec: string): string =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: orders }\nspec: { subjects: [{ spiffeId: ${orders} }], keyspaces: [shop], ${spec} }\n`

describe('ringfence policy', () => {
  let folder: string
  const path = (name: string): string => join(folder, name)
  let child: ChildProcess
  let answers: AsyncIterator<string>
  const run = (...args: string[]) => runVerb('policy', ...args)
  const runVerb = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
    child.stdin?.write(`${JSON.stringify(args)}\n`)
    const { value } = await answers.next()
    return JSON.parse(value as string) as { code: number; out: string; err: string }
  }

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-policy-'))
    writeFileSync(path('orders.yaml'), policy('operations: [READ]'))
    writeFileSync(path('writes.yaml'), policy('operations: [WRITE]'))
    writeFileSync(path('bad.yaml'), policy('operations: [RAED]'))
    child = spawn(process.execPath, [fixture], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] })
    answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  })
  after(async () => {
    const exit = once(child, 'exit')
    child.stdin?.end()
    await exit
    rmSync(folder, { recursive: true, force: true })
  })

  describe('validate', () => {
    it('ends with 0 for what may be applied and names each file', async () => {
      const ran = await run('validate', 'orders.yaml', 'writes.yaml')
      assert.deepEqual([ran.code, ran.out], [0, '√ orders.yaml is valid\n√ writes.yaml is valid\n'])
    })

    it('ends with 3 for a fault and says where, 65 for no file, 64 for none named', async () => {
      const ran = await run('validate', '-o', 'json', 'orders.yaml', 'bad.yaml')
      assert.equal(ran.code, 3)
      const { files } = JSON.parse(ran.out) as { files: { valid: boolean; problems: string[] }[] }
      assert.deepEqual(
        files.map(({ valid }) => valid),
        [true, false],
      )
      assert.match(files[1]?.problems[0] ?? '', /^bad\.yaml:4:\d+: .*did you mean "READ"/)
      assert.equal((await run('validate', 'absent.yaml')).code, 65)
      assert.equal((await run('validate')).code, 64)
    })
  })

  describe('test', () => {
    const suite = (cases: string): string =>
      `apiVersion: ringfence.dev/v1alpha1\nkind: PolicyTest\nmetadata: { name: orders }\nspec:\n  policy: orders.yaml\n  cases:\n${cases}`
    const aCase = (statement: string, want: string): string =>
      `    - { as: '${orders}', statement: '${statement}', want: ${want} }\n`
    const write = (name: string, text: string): void => {
      mkdirSync(path(name), { recursive: true })
      writeFileSync(join(path(name), 'orders.yaml'), policy('operations: [READ]'))
      writeFileSync(join(path(name), 'orders_test.yaml'), text)
    }

    it('ends with 0 when every case passes, for its own reason', async () => {
      write(
        'good',
        suite(aCase('SELECT a FROM shop.t WHERE k = 1', 'allow, rule: orders') + aCase('TRUNCATE shop.t', 'deny')),
      )
      const ran = await run('test', 'good')
      assert.deepEqual([ran.code, ran.out], [0, '2 passed, 0 failed\n'], ran.err)
      assert.match(
        (await run('test', '-v', 'good')).out,
        /√ good\/orders_test\.yaml:7 SELECT a .*: allow \(rule orders\)/,
      )
    })

    it('ends with 4 and a line for each case that fails: another verdict, another rule, no CQL', async () => {
      const cases = [
        aCase('SELECT a FROM shop.t WHERE k = 1', 'deny'),
        aCase('SELECT a FROM shop.t WHERE k = 1', 'allow, rule: other'),
        aCase('SELEC a FROM shop.t', 'deny'),
        aCase('SELEC a FROM shop.t', 'deny, rule: not-understood'),
      ]
      write('failing', suite(cases.join('')))
      const ran = await run('test', 'failing')
      assert.equal(ran.code, 4)
      const lines = ran.out.trimEnd().split('\n')
      assert.equal(lines.length, 4)
      assert.match(lines[0] ?? '', /orders_test\.yaml:7 .*wanted deny, came allow \(rule orders\)/)
      assert.match(lines[1] ?? '', /wanted allow \(rule other\), came allow \(rule orders\)/)
      assert.match(lines[2] ?? '', /wanted deny, came deny \(rule not-understood\): line 1:0 /)
      assert.equal(lines[3], '1 passed, 3 failed')
      const json = JSON.parse((await run('test', '-o', 'json', 'failing')).out) as { passed: number; failed: number }
      assert.deepEqual([json.passed, json.failed], [1, 3])
    })

    it('ends with 3 for faults of any file, each with its place, 65 without files', async () => {
      write(
        'faulty',
        `${suite(aCase('SELECT a FROM shop.t', 'deny'))}      - {}\n`.replace('want: deny', 'wants: deny'),
      )
      const ran = await run('test', 'good', 'faulty')
      assert.equal(ran.code, 3)
      assert.match(ran.err, /faulty\/orders_test\.yaml:\d+:\d+: /)
      write('nobody', suite(aCase('SELECT a FROM shop.t', 'deny')).replace(orders, 'orders'))
      assert.match((await run('test', 'nobody')).err, /nobody\/orders_test\.yaml:7:\d+: /)
      write(
        'without',
        suite(aCase('SELECT a FROM shop.t', 'deny')).replace('policy: orders.yaml', 'policy: absent.yaml'),
      )
      const without = await run('test', 'without')
      assert.equal(without.code, 65)
      assert.match(without.err, /orders_test\.yaml:5:\d+: .*absent\.yaml cannot be read/)
      mkdirSync(path('empty'))
      assert.equal((await run('test', 'empty')).code, 65)
    })

    it('passes for every example', async () => {
      const ran = await run('test', examples)
      assert.equal(ran.code, 0, ran.out + ran.err)
      assert.match(ran.out, /^[1-9]\d* passed, 0 failed$/m)
    })
  })

  describe('explain', () => {
    const explain = (statement: string, ...more: string[]) =>
      run('explain', statement, '--as', orders, '-f', 'orders.yaml', '--keyspace', 'shop', ...more)

    it('shows what is touched, the rules considered and the verdict; ends with 0', async () => {
      writeFileSync(path('shop.cql'), 'CREATE TABLE shop.t (k int PRIMARY KEY, a int);')
      const { code, out, err } = await explain('SELECT a FROM t WHERE k = ?', '--schema', 'shop.cql')
      assert.equal(code, 0, err)
      for (const part of [
        /SELECT on <table shop\.t>, columns a, k/,
        /orders +matched/,
        /permit ?\(/,
        /^allow \(rule orders, /m,
      ]) {
        assert.match(out, part)
      }
    })

    it('ends with 2 for what is refused, and for what is no CQL', async () => {
      const refused = await explain('TRUNCATE t')
      assert.equal(refused.code, 2)
      assert.match(refused.out, /other operation/)
      assert.match(refused.out, /^deny \(rule default-deny, orders\.yaml\)\n {2}.*has no TRUNCATE permission/m)
      const noCql = await explain('SELEC', '-o', 'json')
      assert.equal(noCql.code, 2)
      assert.equal((JSON.parse(noCql.out) as { rule: string }).rule, 'not-understood')
    })

    it('prints all of it as JSON', async () => {
      const json = JSON.parse((await explain('SELECT a FROM t WHERE k = 1 LIMIT 5', '-o', 'json')).out) as {
        verdict: string
        facts: { limit: { literal: string } }
        accesses: { considered: { rule: string }[] }[]
      }
      assert.deepEqual([json.verdict, json.facts.limit.literal], ['allow', '5'])
      assert.equal(json.accesses[0]?.considered[0]?.rule, 'orders')
    })

    it('tells a slip of the command line from a fault of the policy', async () => {
      assert.equal((await run('explain', 'SELECT a FROM t', '-f', 'orders.yaml')).code, 64)
      assert.equal((await run('explain', 'SELECT a FROM t', '--as', 'orders', '-f', 'orders.yaml')).code, 64)
      assert.equal((await explain('SELECT a FROM t', '--at', 'noon')).code, 64)
      assert.equal((await run('explain', 'SELECT a FROM t', '--as', orders, '-f', 'bad.yaml')).code, 3)
      assert.equal((await run('explain', 'SELECT a FROM t', '--as', orders, '--state-dir', path('absent'))).code, 65)
    })
  })

  describe('people', () => {
    const both =
      'apiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: people }\nspec: { subjects: [{ person: corp/* }], keyspaces: [shop], operations: [READ] }\n'
    const read = 'SELECT a FROM shop.t WHERE k = 1'
    before(() => writeFileSync(path('people.yaml'), `${policy('operations: [READ]')}---\n${both}`))

    it('explain judges a workload and the person behind it, each by itself', async () => {
      const explain = (...more: string[]) => run('explain', read, '-f', 'people.yaml', ...more)
      assert.match((await explain('--person', 'corp/alice')).out, /^allow \(rule people, /m)
      const pair = await explain('--as', orders, '--person', 'corp/alice')
      assert.equal(pair.code, 0, pair.err)
      assert.match(pair.out, /for spiffe:\/\/cli\.local\/svc\/orders\n.*\n {4}allow +orders +matched/)
      assert.match(pair.out, /for corp\/alice \(through spiffe:\S+\)\n.*\n {4}allow +people +matched/)
      assert.match(pair.out, /^allow \(rule orders,people, /m)
      const refused = await explain('--as', orders, '--person', 'okta/bob')
      assert.equal(refused.code, 2)
      assert.match(refused.out, /okta\/bob \(through spiffe:\/\/cli\.local\/svc\/orders\) has no SELECT permission/)
    })

    it('explain and test know the claims of both, each as its own', async () => {
      const claims = 'when: { claims: { acr: mfa } }'
      const corp =
        'apiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: corp }\nspec: { type: oidc, issuer: https://corp.example.com, audiences: [ringfence], claims: { forPolicy: [acr] } }\n'
      const text = `${policy('operations: [READ]')}---\n${both.replace('[READ] }', `[READ], ${claims} }`)}---\n${corp}`
      writeFileSync(path('claims.yaml'), text)
      const cases = [
        ['mfa', 'pwd', 0, 'allow'],
        ['pwd', 'mfa', 2, 'deny'],
      ] as const
      for (const [person, workload, code] of cases) {
        const who = ['--as', orders, '--person', 'corp/alice', '--claim', `acr=${person}`]
        const ran = await run('explain', read, '-f', 'claims.yaml', ...who, '--workload-claim', `acr=${workload}`)
        assert.equal(ran.code, code, `${ran.out}${ran.err}`)
      }
      const tried = cases.map(([person, workload, , want]) => {
        const of = `claims: { acr: ${person} }, workloadClaims: { acr: ${workload} }`
        return `    - { as: "${orders}", person: corp/alice, ${of}, statement: "${read}", want: ${want} }\n`
      })
      const head =
        'apiVersion: ringfence.dev/v1alpha1\nkind: PolicyTest\nmetadata: { name: both }\nspec:\n  policy: claims.yaml\n'
      writeFileSync(path('both.test.yaml'), `${head}  cases:\n${tried.join('')}`)
      const ran = await run('test', 'both.test.yaml')
      assert.equal(ran.code, 0, `${ran.out}${ran.err}`)
    })

    it('tells a slip of the command line', async () => {
      for (const flags of [
        ['--person', 'alice'],
        ['--person', 'corp/alice', '--group', 'analysts'],
        ['--role', 'etl'],
        ['--person', 'corp/alice', '--claim', 'acr'],
        ['--person', 'corp/alice', '--workload-claim', 'acr=mfa'],
        ['--person', 'corp/alice', '--authentication', 'guess'],
      ]) {
        assert.equal((await run('explain', read, '-f', 'people.yaml', ...flags)).code, 64, flags.join(' '))
      }
    })

    it('identity show tells the chain, and ends with 2 for whom no rule names', async () => {
      const show = (...args: string[]) => runVerb('identity', 'show', ...args, '-f', 'people.yaml')
      const alice = await show('corp/alice')
      assert.equal(alice.code, 0, alice.err)
      assert.match(alice.out, /^person corp\/alice\n {2}SPIFFE id +spiffe:\/\/cli\.local\/user\/corp\/alice$/m)
      assert.match(
        alice.out,
        /named by +AccessPolicy people, by person corp\/\*: allow SELECT, USE, DESCRIBE on shop\.\*/,
      )
      const pair = await show(orders, '--person', 'corp/alice', '-o', 'json')
      const { parties } = JSON.parse(pair.out) as { parties: { kind: string; rules: { rule: string }[] }[] }
      assert.deepEqual(
        parties.map(({ kind, rules }) => [kind, ...rules.map(({ rule }) => rule)]),
        [
          ['workload', 'orders'],
          ['person', 'people'],
        ],
      )
      assert.equal((await show('okta/bob')).code, 2)
      assert.equal((await show(orders, '--person', 'okta/bob')).code, 2)
      assert.equal((await show('bob')).code, 64)
      assert.equal((await show()).code, 64)
      assert.equal((await runVerb('identity', 'show', 'corp/alice', '-f', 'bad.yaml')).code, 3)
      assert.equal((await runVerb('identity', 'show', 'corp/alice', '--state-dir', path('absent'))).code, 65)
      assert.equal((await runVerb('identity', 'list', '--state-dir', path('absent'))).code, 1)
    })
  })

  describe('diff', () => {
    it('ends with 0 for the same, 1 for another, 3 and 65 for what is no policy', async () => {
      assert.deepEqual(
        [(await run('diff', 'orders.yaml', 'orders.yaml')).code, (await run('diff', 'orders.yaml', 'bad.yaml')).code],
        [0, 3],
      )
      const ran = await run('diff', 'orders.yaml', 'writes.yaml')
      assert.equal(ran.code, 1)
      assert.match(
        ran.out,
        /~ AccessPolicy orders\n {4}spec\.operations: \["READ"\] → \["WRITE"\]\n0 added, 0 removed, 1 changed/,
      )
      assert.equal((await run('diff')).code, 64)
      assert.equal((await run('diff', '-f', 'orders.yaml', '--state-dir', path('absent'))).code, 65)
    })
  })

  describe('simulate', () => {
    const sent = (text: string, verdict: 'allow' | 'deny' = 'allow', rule = 'orders'): string =>
      auditLine({ as: orders, text, verdict, rule, timeMs: Date.now() })
    const audit = (name: string, lines: readonly string[]): string => {
      mkdirSync(path(name), { recursive: true })
      writeFileSync(
        join(path(name), 'audit-sidecar-1-20260101T000000.000Z-000000.jsonl'),
        lines.map((line) => `${line}\n`).join(''),
      )
      return path(name)
    }

    it('ends with 0 when nothing would be refused, from the folders beside the control plane', async () => {
      audit('state/sidecar/node1/audit', [
        sent('SELECT a FROM shop.t WHERE k = 1'),
        sent('TRUNCATE shop.t', 'deny', 'default-deny'),
      ])
      const ran = await run('simulate', '-f', 'orders.yaml', '--state-dir', path('state/control'))
      assert.equal(ran.code, 0, ran.err)
      assert.match(ran.out, /^orders\.yaml against 2 requests since /)
      assert.match(ran.out, /^2 as before$/m)
    })

    it('ends with 2 and says what would be, when something would be refused', async () => {
      const lines = [sent('SELECT a FROM shop.t WHERE k = 1'), sent('SELECT a FROM shop.t WHERE k = 2')]
      const directories = ['--audit-dir', audit('a', lines), '--audit-dir', audit('b', lines.slice(1))]
      const ran = await run('simulate', '-f', 'writes.yaml', ...directories)
      assert.equal(ran.code, 2, ran.err)
      assert.match(
        ran.out,
        /3 {2}spiffe:\S+orders {2}allow → deny {2}orders → default-deny {2}shop .*SELECT a FROM shop\.t WHERE k = \?/,
      )
      assert.match(ran.out, /^3 would newly be refused$/m)
      const json = JSON.parse((await run('simulate', '-f', 'writes.yaml', ...directories, '-o', 'json')).out) as {
        requests: number
      }
      assert.equal(json.requests, 3)
    })

    it('never calls it well when there was nothing to replay', async () => {
      const old = audit('old', [
        auditLine({ as: orders, text: 'TRUNCATE a.b', rule: 'x', timeMs: Date.now() - 7_200_000 }),
      ])
      const ran = await run('simulate', '-f', 'orders.yaml', '--audit-dir', old, '--since', '1h')
      assert.equal(ran.code, 1)
      assert.match(ran.out, /nothing to replay/)
      assert.equal((await run('simulate', '-f', 'orders.yaml', '--audit-dir', path('absent'))).code, 65)
      assert.equal((await run('simulate', '-f', 'orders.yaml', '--state-dir', path('absent/control'))).code, 65)
      assert.equal((await run('simulate', '-f', 'bad.yaml', '--audit-dir', old)).code, 3)
      assert.equal((await run('simulate', '-f', 'orders.yaml', '--since', 'yesterday')).code, 64)
      assert.equal((await run('simulate', '-f', 'orders.yaml', '--limit', 'few')).code, 64)
    })
  })

  describe('with a control plane', () => {
    let stop: () => Promise<unknown>
    let state: string[]

    before(async () => {
      state = ['--state-dir', path('c')]
      const env = { ...process.env, RINGFENCE_LOG: 'silent' }
      const args = [main, 'control', ...state, '--listen', '127.0.0.1:0', '--trust-domain', 'cli.local', '-o', 'json']
      const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      stop = async () => {
        const exit = once(child, 'exit')
        child.kill('SIGTERM')
        return exit
      }
    })
    after(() => stop())

    it('diff and explain ask the policy in force', async () => {
      const none = await run('diff', ...state, '-f', 'orders.yaml')
      assert.deepEqual([none.code, none.out.split('\n')[0]], [1, 'no policy → orders.yaml'])
      const refused = await run('explain', 'SELECT a FROM shop.t', '--as', orders, ...state)
      assert.equal(refused.code, 2, refused.err)
      assert.match(refused.out, /no policy is in force/)
      assert.equal((await run('apply', ...state, '-f', 'orders.yaml')).code, 0)
      assert.match((await runVerb('identity', 'show', orders, ...state)).out, /not seen in the last minute$/m)
      assert.equal((await runVerb('identity', 'list', ...state)).out, 'nobody talked to Cassandra\n')
      assert.deepEqual(await run('diff', ...state, '-f', 'orders.yaml'), {
        code: 0,
        out: 'orders.yaml says the same as revision 1\n',
        err: '',
      })
      assert.match(
        (await run('explain', 'TRUNCATE shop.t', '--as', orders, ...state)).out,
        /^deny \(rule default-deny, policy revision 1\)$/m,
      )
    })
  })
})
