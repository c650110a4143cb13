/** The settings by which a sidecar keeps its node's certificate: a part of its configuration file, for the agent that does it. */
import { isAbsolute } from 'node:path'
import { z } from 'zod'

const path = z.string().max(4096).refine(isAbsolute, 'expected an absolute path')

/** As the sections of `cassandra.yaml` name them. */
const stores = { keystore: path, truststore: path } as const

export const nodeCertificateConfig = z
  .strictObject({
    ...stores,
    /** Where `server_encryption_options` name other files. */
    internode: z.strictObject(stores).optional(),
    /** Run after each change; it has the node read its files. */
    reload: z.string().min(1).max(4096).default('nodetool reloadssl'),
    /** A join token of the node, needed the first time only. */
    tokenFile: path.optional(),
  })
  .refine(({ keystore, truststore, internode }) => {
    const all = [keystore, truststore, ...(internode === undefined ? [] : Object.values(internode))]
    return new Set(all).size === all.length
  }, 'each file is named once; without internode both sections of cassandra.yaml name the same two files')

export type NodeCertificateConfig = z.infer<typeof nodeCertificateConfig>
