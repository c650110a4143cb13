import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { problemsOf } from '../../base/errors.fixture.ts'
import { document, rulesOf } from './data.fixture.ts'

const refusal = (...documents: string[]): string[] => problemsOf(() => rulesOf(...documents))

/** `good` is a spec that loads; `bad` is refused once, in line 4, with words that match. */
function claim(kind: string, good: string, bad: string, words: RegExp): void {
  assert.deepEqual(refusal(document(kind, 'p', good)), [])
  const lines = refusal(document(kind, 'p', bad))
  assert.equal(lines.length, 1, lines.join('\n'))
  assert.match(lines[0]!, words)
}

describe('a DataClass', () => {
  const pii = document('DataClass', 'pii', '{columns: [{keyspace: shop, table: "*", columns: [email]}]}')
  const user = (name: string) => document('MaskingPolicy', 'm', `{dataClass: ${name}, mask: full}`)

  it('is known to the policies that name it, wherever it stands, and to no misspelt one', () => {
    assert.deepEqual(refusal(pii, user('pii')), [])
    assert.deepEqual(refusal(user('pii'), pii), [])
    const lines = refusal(pii, user('pij'))
    assert.match(lines[0]!, /^p\.yaml:3:18: no MaskingPolicy or RetentionPolicy names this class, so it can never do/)
    assert.match(lines[1]!, /^p\.yaml:9:19: unknown DataClass "pij", did you mean "pii"\? valid: pii$/)
  })

  it('may be called __proto__', () => {
    const proto = (kind: string, spec: string) => document(kind, '__proto__', spec)
    assert.deepEqual(refusal(proto('DataClass', '{tables: [{keyspace: a, table: b}]}'), user('__proto__')), [])
    assert.match(refusal(user('__proto__'))[0]!, /unknown DataClass "__proto__"/)
    assert.match(refusal(user('constructor'))[0]!, /unknown DataClass "constructor"/)
  })

  it('names something, and nothing dead', () => {
    const named = (spec: string) => refusal(document('DataClass', 'pii', spec), user('pii'))
    assert.deepEqual(named('{tables: [{keyspace: system_auth, table: roles}]}'), [])
    assert.match(named('{}')[0]!, /:4:7: the class names nothing; add columns or tables/)
    assert.match(named('{tables: []}')[0]!, /the list is empty/)
    assert.match(named('{tables: [{keyspace: "system*", table: x}]}')[0]!, /:4:28: "system\*" can never match/)
  })
})

describe('a MaskingPolicy', () => {
  const good = '{keyspaces: [shop], columns: [email], mask: full}'

  it('has a mask, a class or columns, and not both', () => {
    claim('MaskingPolicy', good, '{keyspaces: [shop], columns: [email]}', /:4:7: .*missing key "mask"/)
    claim('MaskingPolicy', good, '{keyspaces: [shop], mask: full}', /:4:7: the policy names no columns; add columns/)
    claim('MaskingPolicy', good, '{columns: [email], mask: full}', /:4:17: "columns" without "keyspaces" can never/)
    claim('MaskingPolicy', good, '{mask: full}', /:4:7: the policy is about nothing; add dataClass or keyspaces/)
    const pii = document('DataClass', 'pii', '{tables: [{keyspace: a, table: b}]}')
    const both = document('MaskingPolicy', 'm', '{dataClass: pii, columns: [email], mask: full}')
    assert.match(refusal(pii, both)[0]!, /:9:33: "columns" beside "dataClass"/)
  })

  it('takes the mask null as YAML reads it and as text, and no other word', () => {
    claim(
      'MaskingPolicy',
      good.replace('full', 'null'),
      good.replace('full', 'nul'),
      /unknown value "nul", did you mean "null"\?/,
    )
    claim('MaskingPolicy', good.replace('full', '"null"'), good.replace('full', '[]'), /found a list/)
  })

  it('keeps characters with partial only, some of them, and not without bound', () => {
    const partial = (more: string) => `{keyspaces: [shop], columns: [email], mask: partial${more}}`
    claim(
      'MaskingPolicy',
      partial(', keepEnd: 4'),
      partial(''),
      /:4:\d+: "partial" keeps some characters; add keepStart/,
    )
    claim('MaskingPolicy', partial(', keepStart: 64'), partial(', keepStart: 65'), /must be at most 64/)
    claim('MaskingPolicy', good, good.replace('full', 'full, keepEnd: 4'), /"keepEnd" belongs to mask partial/)
  })

  it('binds somebody', () => {
    const who = (more: string) => `{keyspaces: [shop], columns: [email], mask: full, ${more}}`
    const all = '{spiffeId: "spiffe://td/svc/*"}'
    const one = '{spiffeId: spiffe://td/svc/a}'
    claim(
      'MaskingPolicy',
      who(`subjects: [${all}], exceptSubjects: [${one}]`),
      who(`subjects: [${one}], exceptSubjects: [${all}]`),
      /every subject is excepted, so the rule can never/,
    )
    claim(
      'MaskingPolicy',
      who(`subjects: [${all}]`),
      who('subjects: [{spiffeId: "spiffe://td/svc*"}]'),
      /:4:\d+: not a pattern of SPIFFE ids/,
    )
    claim('MaskingPolicy', who(`exceptSubjects: [${all}]`), who('exceptSubjects: []'), /the list is empty/)
    claim('MaskingPolicy', who('mode: observe'), who('mode: observed'), /did you mean "observe"\?/)
  })
})

describe('a RetentionPolicy', () => {
  const spec = (more: string) => `{keyspaces: [shop]${more}}`

  it('asks for something', () => {
    claim('RetentionPolicy', spec(', requireTtl: true'), spec(''), /:4:7: the policy asks for nothing; add maxTtl/)
    claim(
      'RetentionPolicy',
      spec(', legalHold: true'),
      spec(', legalHold: false'),
      /unknown value "false"; valid: true/,
    )
    claim(
      'RetentionPolicy',
      spec(', maxTtl: 90d'),
      spec(', maxTTL: 90d'),
      /unknown key "maxTTL", did you mean "maxTtl"\?/,
    )
    claim(
      'RetentionPolicy',
      spec(', maxTtl: 90d'),
      '{tables: [a], maxTtl: 90d}',
      /"tables" without "keyspaces" can never match/,
    )
  })

  it('has TTLs that Cassandra has: whole seconds, one to twenty years', () => {
    claim(
      'RetentionPolicy',
      spec(', maxTtl: 7300d'),
      spec(', maxTtl: 7301d'),
      /a TTL is whole seconds, from 1s to 7300d/,
    )
    claim('RetentionPolicy', spec(', maxTtl: 1s'), spec(', maxTtl: 0s'), /a TTL is whole seconds/)
    claim('RetentionPolicy', spec(', maxTtl: 2000ms'), spec(', maxTtl: 1500ms'), /a TTL is whole seconds/)
    claim('RetentionPolicy', spec(', maxTtl: 3600s'), spec(', maxTtl: 1w'), /"1w" is not a duration; write it like/)
    claim('RetentionPolicy', spec(', maxTtl: 3600s'), spec(', maxTtl: 3600'), /expected text, found 3600/)
  })

  it('does not contradict itself', () => {
    claim(
      'RetentionPolicy',
      spec(', maxTtl: 2d, defaultTtl: 2d'),
      spec(', maxTtl: 2d, defaultTtl: 3d'),
      /259200 seconds exceed maxTtl, 172800/,
    )
    claim(
      'RetentionPolicy',
      spec(', legalHold: true'),
      spec(', legalHold: true, maxTtl: 2d'),
      /"maxTtl" can never do anything beside "legalHold"/,
    )
  })
})

describe('a Guardrail', () => {
  it('limits something', () => {
    claim('Guardrail', '{pageSizeMax: 100}', '{}', /:4:7: the Guardrail limits nothing; add one of pageSizeMax, /)
    claim('Guardrail', '{pageSizeMax: 100}', '{pageSizeMax: 0}', /must be at least 1/)
    claim(
      'Guardrail',
      '{inValuesMax: 100}',
      '{inValueMax: 100}',
      /unknown key "inValueMax", did you mean "inValuesMax"\?/,
    )
    claim(
      'Guardrail',
      '{keyspaces: [a], scans: deny}',
      '{tables: [a], scans: deny}',
      /"tables" without "keyspaces" can never match/,
    )
    claim(
      'Guardrail',
      '{keyspaces: [system_auth], scans: deny}',
      '{keyspaces: ["system_*"], scans: deny}',
      /can never match/,
    )
  })

  it('allows only what it could be that is refused otherwise', () => {
    claim('Guardrail', '{scans: deny}', '{scans: allow}', /scans is allowed where no Guardrail denies it/)
    claim('Guardrail', '{allowFiltering: deny}', '{allowFiltering: allow}', /allowFiltering is allowed where no/)
    claim('Guardrail', '{nowInSeconds: allow}', '{nowInSeconds: allow, mode: observe}', /an allow cannot be observed/)
    const classes = '{allowedClasses: [org.example.Index]}'
    claim('Guardrail', classes, '{allowedClasses: [org.example.Index], mode: observe}', /an allow cannot be observed/)
    const own = '{allowedClasses: [org.example.Index, org.apache.cassandra.io.compress.ZstdCompressor]}'
    claim('Guardrail', classes, own, /:4:\d+: a class of Cassandra’s own is allowed already/)
  })

  it('names classes exactly', () => {
    const classes = '{allowedClasses: [org.example.Index]}'
    for (const name of ['Index', '"org.example.*"', '"*"', '"org..Index"', '" org.example.Index"', '""']) {
      claim('Guardrail', classes, `{allowedClasses: [${name}]}`, /a class is written with its package/)
    }
    claim('Guardrail', classes, '{allowedClasses: []}', /the list is empty/)
  })
})

describe('docs/policy-data.md', () => {
  it('shows policies that load together', () => {
    const text = readFileSync(new URL('../../../docs/policy-data.md', import.meta.url), 'utf8')
    const documents = [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, yaml = '']) => yaml)
    assert.equal(documents.length, 5)
    const rules = rulesOf(...documents)
    const counts = [rules.masks, rules.retention, rules.holds, rules.guards].map(({ length }) => length)
    assert.deepEqual(counts, [1, 1, 1, 2])
  })
})
