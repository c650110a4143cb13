import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { problemsOf } from '../base/errors.fixture.ts'
import { limits } from '../base/limits.ts'
import { cedarSchema } from './cedar/schema.ts'
import { loadPolicy } from './load.ts'

const head = (kind: string, name: string) =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\n`
const who = "subjects: [{spiffeId: 'spiffe://td/svc/a'}]"
const access = (body: string, name = 'p') => `${head('AccessPolicy', name)}spec:\n  ${who}\n  ${body}\n`

const refusal = (source: string): string[] => problemsOf(() => loadPolicy(source, 'p.yaml'))

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

  it('refuses identities of another trust domain wherever a document names one, where its own is known', () => {
    const subjects = (ids: string) => `subjects: [{spiffeId: '${ids}'}]`
    const masking = (rest: string) =>
      `${head('MaskingPolicy', 'p')}spec:\n  keyspaces: [a]\n  columns: [c]\n  mask: full\n  ${rest}\n`
    const role = `${head('Role', 'r')}spec:\n  rules: [{keyspaces: [a], operations: [READ]}]\n---\n`
    const inCedar = (id: string, type: string) =>
      `${head('CedarPolicy', 'p')}spec:\n  cedar: |\n    permit (principal ${type}::"${id}", action == Action::"SELECT", resource in Keyspace::"a");\n`
    const places: Readonly<Record<string, (id: string) => string>> = {
      AccessPolicy: (id) => access('keyspaces: [a]\n  operations: [READ]').replace(who, subjects(id)),
      'a second subject': (id) =>
        access('keyspaces: [a]\n  operations: [READ]').replace("a'}]", `a'}, {spiffeId: '${id}'}]`),
      'a deny': (id) => access('effect: deny\n  keyspaces: [a]\n  operations: [READ]').replace(who, subjects(id)),
      RoleBinding: (id) => `${role}${head('RoleBinding', 'p')}spec:\n  role: r\n  ${subjects(id)}\n`,
      MaskingPolicy: (id) => masking(subjects(id)),
      exceptSubjects: (id) => masking(`exceptSubjects: [{spiffeId: '${id}'}]`),
      'a workload in Cedar': (id) => inCedar(id.replace('*', 'b'), '== Workload'),
      'a group in Cedar': (id) => inCedar(id, 'in Group'),
    }
    const told = (source: string, trustDomain?: string): string => {
      try {
        loadPolicy(source, 'p.yaml', trustDomain)
        return ''
      } catch (reason) {
        return (reason as Error).message
      }
    }
    for (const [place, of] of Object.entries(places)) {
      for (const pattern of ['svc/*', 'svc/b']) {
        const source = of(`spiffe://td/${pattern}`)
        assert.equal(told(source), '', place)
        assert.equal(told(source, 'td'), '', place)
        for (const other of ['spiffe://t', 'spiffe://tda', 'spiffe://td.example', 'spiffe://other']) {
          const foreign = of(`${other}/${pattern}`)
          // Who does not know the mesh, such as `policy validate`, takes it, and so does a proxy.
          assert.equal(told(foreign), '', place)
          assert.match(
            told(foreign, 'td'),
            /^p\.yaml:\d+:\d+: .*is of another trust domain than this mesh, which is td, so it can never match$/,
            `${place} ${other}`,
          )
        }
      }
    }
  })

  it('takes identities of a trust domain whose JWT-SVIDs log in, wherever a document names one, and of no other', () => {
    const federation = `${head('IdentityProvider', 'partner')}spec: { type: spiffe, trustDomain: partner.example, audiences: [m], jwks: 'https://partner.example/b' }\n---\n`
    const broken = federation.replace('audiences', 'audience')
    const inCedar = (id: string, type: string) =>
      `${head('CedarPolicy', 'p')}spec:\n  cedar: |\n    permit (principal ${type}::"${id}", action == Action::"SELECT", resource in Keyspace::"a");\n`
    const places: Readonly<Record<string, (id: string) => string>> = {
      AccessPolicy: (id) =>
        access('keyspaces: [a]\n  operations: [READ]').replace(who, `subjects: [{spiffeId: '${id}'}]`),
      MaskingPolicy: (id) =>
        `${head('MaskingPolicy', 'p')}spec:\n  keyspaces: [a]\n  columns: [c]\n  mask: full\n  exceptSubjects: [{spiffeId: '${id}'}]\n`,
      'a workload in Cedar': (id) => inCedar(id, '== Workload'),
      'a group in Cedar': (id) => inCedar(`${id}/*`, 'in Group'),
    }
    const told = (source: string): string => {
      try {
        loadPolicy(source, 'p.yaml', 'td')
        return ''
      } catch (reason) {
        return (reason as Error).message
      }
    }
    const foreign = /is of another trust domain than this mesh/
    for (const [place, of] of Object.entries(places)) {
      for (const mine of ['spiffe://td/svc', 'spiffe://partner.example/svc'])
        assert.equal(told(federation + of(mine)), '', `${place} ${mine}`)
      for (const other of ['spiffe://partner.example.evil/svc', 'spiffe://partner/svc', 'spiffe://other/svc'])
        assert.match(told(federation + of(other)), foreign, `${place} ${other}`)
      assert.match(told(of('spiffe://partner.example/svc')), foreign, place)
      // Whom a document that cannot be read would federate with is not known: it alone is told.
      assert.match(told(broken + of('spiffe://partner.example/svc')), /unknown key "audience"/, place)
      assert.doesNotMatch(told(broken + of('spiffe://partner.example/svc')), foreign, place)
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
      /unknown value "audit"; valid: enforce, observe/,
    )
    claim(
      access('keyspaces: [a]\n  operations: [READ]'),
      access('keyspaces: [a]\n  operation: [READ]'),
      /unknown key "operation", did you mean "operations"/,
    )
  })

  it('takes conditions that can hold, and no others', () => {
    const on = (when: string, operations = '[SELECT]', more = '') =>
      access(`keyspaces: [a]\n  operations: ${operations}\n  when: ${when}${more}`)
    claim(
      on("{clientAddresses: ['10.0.0.0/8', '::1', '2001:db8::/32']}"),
      on("{clientAddresses: ['10.0.0.0/33']}"),
      /:8:28: "10\.0\.0\.0\/33": the bits are 0 to 32/,
    )
    const addresses = (text: string) => on(`{clientAddresses: ['${text}']}`)
    claim(addresses('10.2.0.0/15'), addresses('10.1.0.0/15'), /has bits beyond the first 15/)
    claim(addresses('2001:db8::/45'), addresses('2001:db8::1/45'), /has bits beyond the first 45/)
    claim(addresses('10.1.2.3/32'), addresses('10.1.2.3/8'), /write where the range begins/)
    claim(addresses('::1'), addresses('::ffff:10.0.0.1'), /write the IPv4 address itself/)
    for (const bad of ['localhost', '10.0.0', '10.0.0.0/8/8', 'fe80::1%eth0', '10.0.0.0/08', ''])
      claim(addresses('10.0.0.1'), addresses(bad), /:8:28: /)
    claim(addresses('10.0.0.0/1'.replace('10', '0')), addresses('0.0.0.0/0'), /is every address of its family/)
    claim(on('{hours: 08:00-18:00}'), on('{hours: 8-18}'), /:8:17: "8-18" is not a span of the day/)
    claim(on('{hours: 22:00-24:00}'), on('{hours: 22:00-24:01}'), /is not a span/)
    claim(on('{hours: 00:00-24:00}'), on('{hours: 08:00-08:00}'), /begins where it ends/)
    claim(on('{days: [mon, tue]}'), on('{days: [mon, tue, wed, thu, fri, sat, sun]}'), /every day is named/)
    claim(on('{days: [mon]}'), on('{days: [monday]}'), /unknown value "monday"/)
    claim(on('{consistency: [ONE]}'), on('{consistency: [LOCAL_QUROUM]}'), /did you mean "LOCAL_QUORUM"/)
    claim(on('{rowsMax: 1}'), on('{rowsMax: 0}'), /must be at least 1/)
    claim(on('{conditional: true}'), on('{}'), /:8:9: "when" is empty/)
    claim(on('{rowsMax: 5}'), on('{rowMax: 5}'), /unknown key "rowMax", did you mean "rowsMax"/)
  })

  it('refuses a condition that says nothing of the operations', () => {
    const on = (when: string, operations: string, more = '') =>
      access(`keyspaces: [a]\n  operations: ${operations}\n  when: ${when}${more}`)
    claim(
      on('{rowsMax: 5}', '[READ, SCAN]'),
      on('{rowsMax: 5}', '[READ, WRITE]'),
      /:7:22: WRITE never concerns "when\.rowsMax".*valid: SELECT, SCAN/,
    )
    claim(
      on('{conditional: true}', '[MODIFY]'),
      on('{conditional: true}', '[SCAN]'),
      /SCAN never concerns "when\.conditional"/,
    )
    claim(on('{consistency: [ONE]}', '[WRITE]'), on('{consistency: [ONE]}', '[TRUNCATE]'), /TRUNCATE never concerns/)
    claim(
      on('{hours: 01:00-02:00}', '[SELECT]', '\n  effect: deny'),
      on('{rowsMax: 5}', '[SELECT]', '\n  effect: deny'),
      /a deny of small answers helps nobody/,
    )
    claim(on('{rowsMax: 5}', '[SELECT]'), on('{rowsMax: 5, conditional: false}', '[SELECT]'), /need rules of their own/)
    assert.match(
      refusal(on('{rowsMax: 5}', '[ALL]', '\n  functions: [a.f]'))[0] ?? '',
      /give functions a rule of their own/,
    )
    assert.match(
      refusal(access('roles: [r]\n  operations: [DROP]\n  when: {rowsMax: 5}'))[0] ?? '',
      /"rowsMax" concerns tables only/,
    )
    const { rules } = loadPolicy(on('{consistency: [ONE]}', '[ALL]'), 'p.yaml')
    assert.deepEqual([...rules[0]!.permissions].sort(), ['MODIFY', 'SCAN', 'SELECT'])
  })

  it('keeps a role that reads one keyspace under ten lines', () => {
    const role =
      'apiVersion: ringfence.dev/v1alpha1\nkind: Role\nmetadata: { name: reader }\nspec:\n  rules:\n    - keyspaces: [shop]\n      operations: [READ]\n'
    assert.ok(role.trimEnd().split('\n').length < 10)
    assert.deepEqual(refusal(`${role}---\n${head('RoleBinding', 'b')}spec:\n  role: reader\n  ${who}\n`), [])
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

describe('docs/policy.md', () => {
  const page = readFileSync(new URL('../../docs/policy.md', import.meta.url), 'utf8')

  it('prints the Cedar schema', () => assert.ok(page.includes(`\`\`\`cedarschema\n${cedarSchema}\`\`\``)))

  it('has examples that load', () => {
    const examples = [...page.matchAll(/```yaml\n(apiVersion.*?)```/gs)].map((match) => match[1]!)
    assert.ok(examples.length >= 3)
    for (const example of examples) assert.deepEqual(refusal(example), [], example)
  })
})

describe('examples/policies', () => {
  const folder = new URL('../../examples/policies/', import.meta.url)
  const files = readdirSync(folder).filter((name) => name.endsWith('.yaml') && !name.endsWith('_test.yaml'))

  it('are there', () => assert.ok(files.length >= 5, files.join(', ')))
  for (const file of files) {
    it(`${file} is valid`, () => {
      const { rules } = loadPolicy(readFileSync(new URL(file, folder), 'utf8'), file)
      assert.ok(rules.length > 0)
    })
  }
  it('are valid together', () => {
    loadPolicy(files.map((file) => readFileSync(new URL(file, folder), 'utf8')).join('\n---\n'), 'all.yaml')
  })
})
