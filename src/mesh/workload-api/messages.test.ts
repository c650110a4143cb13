/** What is served, beside the file that the SPIFFE project publishes. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { DescField, DescMessage } from '@bufbuild/protobuf'
import { workloadApiService, x509BundlesResponse, x509SvidResponse } from './messages.ts'

const published = readFileSync(join(import.meta.dirname, 'workloadapi.proto'), 'utf8').replace(/\/\/.*/g, '')

/** `repeated bytes crl = 2`, as the file writes it. */
function fieldsPublished(message: string): string[] {
  const body = new RegExp(`message ${message}\\s*\\{([^}]*)\\}`).exec(published)?.[1]
  assert.ok(body !== undefined, message)
  return body.split(';').flatMap((line) => (line.trim() === '' ? [] : [line.trim().replace(/\s+/g, ' ')]))
}

function written(field: DescField): string {
  const type =
    field.fieldKind === 'map'
      ? 'map<string, bytes>'
      : field.fieldKind === 'list'
        ? `repeated ${field.listKind === 'message' ? field.message.typeName : scalarOf(field.scalar)}`
        : scalarOf(field.scalar)
  return `${type} ${field.name} = ${field.number}`
}

/** By the numbers of descriptor.proto. */
function scalarOf(type: number | undefined): string {
  return type === 9 ? 'string' : type === 12 ? 'bytes' : `type ${type}`
}

describe('messages of the Workload API', () => {
  const svid = x509SvidResponse.field.svids.message as DescMessage
  const messages = [
    ...workloadApiService.methods.flatMap(({ input, output }) => [input, output]),
    svid,
    x509SvidResponse as unknown as DescMessage,
    x509BundlesResponse as unknown as DescMessage,
  ]

  it('have the fields of the published file, each with its number and type', () => {
    for (const message of messages)
      assert.deepEqual(message.fields.map(written), fieldsPublished(message.typeName), message.typeName)
    assert.ok(messages.some(({ fields }) => fields.length === 5))
  })

  it('are carried by calls of the published service, with the same request and stream', () => {
    assert.equal(workloadApiService.typeName, /service (\w+)/.exec(published)?.[1])
    for (const { name, input, output, methodKind } of workloadApiService.methods) {
      const [, request, stream, answer] =
        new RegExp(`rpc ${name}\\((\\w+)\\) returns \\((stream )?(\\w+)\\)`).exec(published) ?? []
      assert.deepEqual(
        [input.typeName, output.typeName, methodKind],
        [request, answer, stream === undefined ? 'unary' : 'server_streaming'],
        name,
      )
    }
    assert.equal(workloadApiService.methods.length, 2)
  })
})
