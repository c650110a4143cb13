/**
 * What is said by the SPIFFE Workload API, as far as we say it: the profile of X.509-SVIDs. Written after the standard, and not made from its
 * file, so that it can be read; `messages.test.ts` holds the two equal.
 */
import { create, createFileRegistry, type Message, type Registry } from '@bufbuild/protobuf'
import type { GenMessage, GenService } from '@bufbuild/protobuf/codegenv2'
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  MessageOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt'
import { assert } from '../../base/errors.ts'

// Types have what we fill in.
type X509SvidRequest = Message<'X509SVIDRequest'>
type X509BundlesRequest = Message<'X509BundlesRequest'>

type X509Svid = Message<'X509SVID'> & {
  spiffeId: string
  /** Certificates as DER, one behind the other, the leaf first. */
  x509Svid: Uint8Array
  /** PKCS #8 as DER. */
  x509SvidKey: Uint8Array
  /** Roots as DER, one behind the other. */
  bundle: Uint8Array
  hint: string
}

export type X509SvidResponse = Message<'X509SVIDResponse'> & {
  svids: X509Svid[]
}

export type X509BundlesResponse = Message<'X509BundlesResponse'> & {
  /** By the SPIFFE id of the trust domain. */
  bundles: Record<string, Uint8Array>
}

/** In the order of their numbers, from 1. */
function message(name: string, ...fields: readonly ((number: number) => FieldDescriptorProto)[]): DescriptorProto {
  return create(DescriptorProtoSchema, { name, field: fields.map((field, index) => field(index + 1)) })
}

function field(name: string, type: Type, label = Label.OPTIONAL, typeName = '') {
  return (number: number) => create(FieldDescriptorProtoSchema, { name, type, label, typeName, number })
}

/** A message with a map from text to bytes, which is a repeated message of its own. */
function withMap(outer: DescriptorProto, name: string, number: number): DescriptorProto {
  const entry = message(
    `${name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())}Entry`,
    field('key', Type.STRING),
    field('value', Type.BYTES),
  )
  entry.options = create(MessageOptionsSchema, { mapEntry: true })
  outer.nestedType.push(entry)
  outer.field.push(field(name, Type.MESSAGE, Label.REPEATED, `.${outer.name}.${entry.name}`)(number))
  return outer
}

const messageType = [
  message('X509SVIDRequest'),
  withMap(
    message(
      'X509SVIDResponse',
      field('svids', Type.MESSAGE, Label.REPEATED, '.X509SVID'),
      field('crl', Type.BYTES, Label.REPEATED),
    ),
    'federated_bundles',
    3,
  ),
  message(
    'X509SVID',
    field('spiffe_id', Type.STRING),
    field('x509_svid', Type.BYTES),
    field('x509_svid_key', Type.BYTES),
    field('bundle', Type.BYTES),
    field('hint', Type.STRING),
  ),
  message('X509BundlesRequest'),
  withMap(message('X509BundlesResponse', field('crl', Type.BYTES, Label.REPEATED)), 'bundles', 2),
]

const method = [
  stream('FetchX509SVID', '.X509SVIDRequest', '.X509SVIDResponse'),
  stream('FetchX509Bundles', '.X509BundlesRequest', '.X509BundlesResponse'),
]

function stream(name: string, inputType: string, outputType: string) {
  return { name, inputType, outputType, serverStreaming: true }
}

/** The part of the standard's file that we serve. */
const service = [{ name: 'SpiffeWorkloadAPI', method }]
const file = create(FileDescriptorProtoSchema, { name: 'workloadapi.proto', syntax: 'proto3', messageType, service })
const registry = createFileRegistry(file, () => undefined)

export const x509SvidResponse = messageOf<X509SvidResponse>(registry, 'X509SVIDResponse')
export const x509BundlesResponse = messageOf<X509BundlesResponse>(registry, 'X509BundlesResponse')

function messageOf<T extends Message>(from: Registry, name: T['$typeName']): GenMessage<T> {
  const found = from.getMessage(name)
  assert(found, `the Workload API has a message ${name}`)
  // What the library makes at run time is what it makes of generated code; the types above say what is in it.
  return found as unknown as GenMessage<T>
}

export const workloadApiService = registry.getService('SpiffeWorkloadAPI') as unknown as GenService<{
  fetchX509SVID: {
    methodKind: 'server_streaming'
    input: GenMessage<X509SvidRequest>
    output: GenMessage<X509SvidResponse>
  }
  fetchX509Bundles: {
    methodKind: 'server_streaming'
    input: GenMessage<X509BundlesRequest>
    output: GenMessage<X509BundlesResponse>
  }
}>
