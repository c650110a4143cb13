/** AWS roles by a pre-signed GetCallerIdentity. It has no tokens and no keys: AWS STS is asked at each log-in (`proofs/presigned.ts`). */
import { z } from 'zod'
import { awsPartitions } from '../aws/arn.ts'
import { isAwsRegion } from '../aws/hosts.ts'
import { awsAccount, listOf, tokenShape } from './common.ts'
import { providerType } from './provider.ts'

const schema = z.strictObject({
  type: z.literal('aws-sts'),
  /** Its callers sign it as the header `x-ringfence-server`, so that what was signed for another mesh is nothing here. */
  serverId: z
    .string()
    .regex(/^[A-Za-z0-9._:/-]{1,255}$/, 'expected letters, digits and . _ : / -, such as mesh.example.com'),
  partition: z.enum(awsPartitions).default('aws'),
  /** Only at these is STS asked; else in all of the partition that are known. */
  regions: listOf(z.string().max(64)).optional(),
  /** Whose roles and users may log in; what each may do, rules say. */
  accounts: listOf(awsAccount),
  allowPrivate: z.boolean().default(false),
  leeway: tokenShape.leeway,
  certificateLife: tokenShape.certificateLife,
})

export const awsSts = providerType<z.infer<typeof schema>>({
  name: 'aws-sts',
  schema,
  faults: ({ partition, regions = [] }) =>
    regions.flatMap((region, index) =>
      isAwsRegion(partition, region)
        ? []
        : [
            {
              path: ['regions', index],
              message: `not a region of the partition ${partition}: ${JSON.stringify(region)}`,
            },
          ],
    ),
  /** One for each partition: a host of STS says which. */
  keyedBy: ({ partition }) => `${partition} STS`,
  tokens: ({ leeway }) => ({
    ...{ issuer: undefined, audiences: [], algorithms: [], types: [] },
    ...{ leewayMs: leeway, lifeMsMax: 0 },
  }),
  keySource: () => undefined,
  keysAgeMsMax: () => 0,
  presigned: ({ serverId, partition, regions, accounts, allowPrivate, leeway }) => ({
    ...{ serverId, partition, regions, accounts, allowPrivate },
    leewayMs: leeway,
  }),
  identify: () => {
    throw new Error('it has no tokens')
  },
})
