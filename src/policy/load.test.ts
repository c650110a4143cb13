import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { loadPolicy } from './load.ts'

const head = (kind: string, name: string) =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\n`
const who = "subjects: [{spiffeId: 'spiffe://td/svc/a'}]"
const access = (body: string, name = 'p') => `${head('AccessPolicy', name)}spec:\n  ${who}\n  ${body}\n`

function refusal(source: string): string[] {
  try {
    loadPolicy(source, 'p.yaml')
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError && reason.code === 'CONFIG', String(reason))
    return reason.message.split('\n')
  }
  return []
}

/** `good` loads; `bad`, which differs in one thing, is refused with words that match. */
function claim(good: string, bad: string, words: RegExp): void {
  assert.deepEqual(refusal(good), [])
  const lines = refusal(bad)
  assert.equal(lines.length, 1, lines.join('\n'))
  assert.match(lines[0]!, words)
}

describe('loadPolicy', () => {
  it('gives the rules in the order of the file, those of a role once for each binding', () => {
    const role = `${head('Role', 'reader')}spec:\n  rules:\n    - {keyspaces: [a], operations: [READ]}\n    - {keyspaces: [b], tables: ['*'], operations: [SELECT]}\n`
    const bind = (name: string) => `${head('RoleBinding', name)}spec:\n  role: reader\n  ${who}\n`
    const source = [
      bind('x'),
      access('{keyspaces: [c], operations: [ALL]}'.slice(1, -1).replace(', ', '\n  ')),
      role,
      bind('y'),
    ]
    const { rules } = loadPolicy(source.join('---\n'), 'p.yaml')
    assert.deepEqual(
      rules.map(({ index, name, keyspaces, tables, label }) => [index, name, keyspaces[0], tables, label]),
      [
        [0, 'x', 'a', undefined, 'RoleBinding x, Role reader, rule 1'],
        [1, 'x', 'b', undefined, 'RoleBinding x, Role reader, rule 2'],
        [2, 'p', 'c', undefined, 'AccessPolicy p'],
        [3, 'y', 'a', undefined, 'RoleBinding y, Role reader, rule 1'],
        [4, 'y', 'b', undefined, 'RoleBinding y, Role reader, rule 2'],
      ],
    )
  })

  it('refuses a binding of a role that is not there, and a role that nobody is bound to', () => {
    const role = `${head('Role', 'reader')}spec: {rules: [{keyspaces: [a], operations: [READ]}]}\n---\n`
    const bind = (to: string) => `${head('RoleBinding', 'b')}spec:\n  role: ${to}\n  ${who}\n`
    assert.deepEqual(refusal(role + bind('reader')), [])
    assert.deepEqual(refusal(role + bind('raeder')), [
      'p.yaml:3:18: no RoleBinding names this role, so it can never do anything',
      'p.yaml:10:9: unknown role "raeder", did you mean "reader"? valid: reader',
    ])
  })

  it('refuses a name that is taken, because verdicts name it', () => {
    const one = access('keyspaces: [a]\n  operations: [READ]', 'x')
    const two = access('keyspaces: [b]\n  operations: [READ]', 'y')
    claim(
      `${one}---\n${two}`,
      `${one}---\n${two.replace('name: y', 'name: x')}`,
      /^p\.yaml:11:18: the name "x" is taken by the AccessPolicy at line 3$/,
    )
  })

  it('refuses lists that hold nothing, and a rule that names nothing', () => {
    claim(
      access('keyspaces: [a]\n  operations: [READ]'),
      access('keyspaces: [a]\n  operations: []'),
      /:7:15: spec\.operations: the list is empty/,
    )
    claim(
      access('keyspaces: [a]\n  operations: [READ]'),
      access('keyspaces: []\n  operations: [READ]'),
      /:6:14: spec\.keyspaces: the list is empty/,
    )
    claim(access('keyspaces: [a]\n  operations: [READ]'), access('operations: [READ]'), /the rule names nothing/)
    assert.match(refusal(access('tables: [t]\n  operations: [READ]'))[0]!, /:5:3: the rule names nothing/)
    assert.match(
      refusal(access('tables: [t]\n  operations: [READ]'))[1]!,
      /"tables" without "keyspaces" can never match/,
    )
  })

  it('refuses a wildcard over system keyspaces, which it never includes', () => {
    for (const pattern of ['system*', 'system_*', 'SYSTEM_a*']) {
      const bad = access(`keyspaces: ['${pattern}']\n  operations: [READ]`)
      claim(
        access("keyspaces: [system_auth, 's*']\n  operations: [READ]"),
        bad,
        /:6:15: "\S+" can never match: a wildcard never/,
      )
    }
    claim(
      access("functions: ['system.f', 'sys*.f']\n  operations: [EXECUTE]"),
      access("functions: ['system*.f']\n  operations: [EXECUTE]"),
      /can never match/,
    )
  })

  it('refuses a deny of system.local alone, which never takes effect', () => {
    const deny = (tables: string) =>
      access(`effect: deny\n  keyspaces: [system]\n  tables: [${tables}]\n  operations: [SELECT]`)
    claim(deny('local, peers'), deny('local'), /:8:11: system\.local stays readable/)
  })

  it('refuses an operation that concerns nothing in the rule, and a resource that no operation concerns', () => {
    claim(
      access('keyspaces: [a]\n  functions: [a.f]\n  operations: [SELECT, EXECUTE]'),
      access('keyspaces: [a]\n  operations: [SELECT, EXECUTE]'),
      /:7:24: EXECUTE never concerns keyspaces, so it can never do anything here; valid: SELECT, MODIFY/,
    )
    claim(
      access('keyspaces: [a]\n  functions: [a.f]\n  operations: [ALL]'),
      access('keyspaces: [a]\n  functions: [a.f]\n  operations: [SELECT]'),
      /:7:14: none of the operations concerns functions/,
    )
    claim(
      access('keyspaces: [a]\n  columns: [c]\n  operations: [SELECT, READ]'),
      access('keyspaces: [a]\n  columns: [c]\n  operations: [SELECT, DROP]'),
      /:8:24: DROP never concerns columns/,
    )
    assert.match(
      refusal(access('keyspaces: [a]\n  columns: [c]\n  cluster: true\n  operations: [ALL]'))[0]!,
      /"columns" concerns tables only/,
    )
  })

  it('refuses names and identities that are none', () => {
    claim(
      access('keyspaces: [a]\n  operations: [READ]'),
      access('keyspaces: [a.b]\n  operations: [READ]'),
      /:6:15: .*a name has letters, digits/,
    )
    claim(
      access("keyspaces: ['a*']\n  operations: [READ]"),
      access("keyspaces: ['a*b']\n  operations: [READ]"),
      /"\*" may stand alone/,
    )
    claim(
      access('functions: [a.f]\n  operations: [EXECUTE]'),
      access('functions: [f]\n  operations: [EXECUTE]'),
      /written keyspace\.name/,
    )
    const good = access('keyspaces: [a]\n  operations: [READ]')
    for (const id of ['spiffe://td/svc*/a', 'spiffe://*/svc/a', 'https://td/svc', 'spiffe://td/svc/', 'svc']) {
      claim(good, good.replace('spiffe://td/svc/a', id), /^p\.yaml:5:25: /)
    }
  })

  it('refuses what is misspelt, with what is valid', () => {
    claim(
      access('keyspaces: [a]\n  operations: [READ]'),
      access('keyspaces: [a]\n  operations: [RAED]'),
      /unknown value "RAED", did you mean "READ"\? valid: SELECT,/,
    )
    claim(
      access('effect: deny\n  keyspaces: [a]\n  operations: [READ]'),
      access('effect: block\n  keyspaces: [a]\n  operations: [READ]'),
      /unknown value "block"; valid: allow, deny/,
    )
    claim(
      access('mode: enforce\n  keyspaces: [a]\n  operations: [READ]'),
      access('mode: audit\n  keyspaces: [a]\n  operations: [READ]'),
      /unknown value "audit"; valid: enforce/,
    )
    claim(
      access('keyspaces: [a]\n  operations: [READ]'),
      access('keyspaces: [a]\n  operation: [READ]'),
      /unknown key "operation", did you mean "operations"/,
    )
  })

  it('bounds the document and the work that it makes', () => {
    const good = access('keyspaces: [a]\n  operations: [READ]')
    const pad = (bytes: number) => `${good}${'#'.repeat(bytes - good.length)}`
    claim(pad(limits.policyBytesMax), pad(limits.policyBytesMax + 1), /exceed policyBytesMax 1048576$/)
    const many = (count: number, letter: string) => Array.from({ length: count }, (_, i) => `${letter}${i}`).join(', ')
    const wide = (tables: number) =>
      access(`keyspaces: [${many(100, 'k')}]\n  tables: [${many(tables, 't')}]\n  operations: [READ]`)
    claim(wide(100), wide(101), /10100 combinations of keyspaces, tables and columns exceed 10000/)
  })
})

describe('examples/policies', () => {
  const folder = new URL('../../examples/policies/', import.meta.url)
  const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'))

  it('are there', () => assert.ok(files.length >= 5, files.join(', ')))
  for (const file of files) {
    it(`${file} is valid`, () => {
      assert.ok(loadPolicy(readFileSync(new URL(file, folder), 'utf8'), file).rules.length > 0)
    })
  }
  it('are valid together', () => {
    loadPolicy(files.map((file) => readFileSync(new URL(file, folder), 'utf8')).join('\n---\n'), 'all.yaml')
  })
})
