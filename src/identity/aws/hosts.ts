/**
 * Where AWS STS answers, by partition: a list, for a host is never taken from a client. Regional, FIPS and dual-stack hosts, and the global
 * one of the partition `aws`. A region that is newer than this list is named by the provider's `regions`.
 */
import { type AwsPartition, awsPartitions } from './arn.ts'

const regions: Readonly<Record<AwsPartition, readonly string[]>> = {
  aws: [
    ...[
      'af-south-1',
      'ap-east-1',
      'ap-east-2',
      'ap-northeast-1',
      'ap-northeast-2',
      'ap-northeast-3',
      'ap-south-1',
      'ap-south-2',
    ],
    ...[
      'ap-southeast-1',
      'ap-southeast-2',
      'ap-southeast-3',
      'ap-southeast-4',
      'ap-southeast-5',
      'ap-southeast-6',
      'ap-southeast-7',
    ],
    ...['ca-central-1', 'ca-west-1', 'eu-central-1', 'eu-central-2', 'eu-north-1', 'eu-south-1', 'eu-south-2'],
    ...[
      'eu-west-1',
      'eu-west-2',
      'eu-west-3',
      'il-central-1',
      'me-central-1',
      'me-south-1',
      'mx-central-1',
      'sa-east-1',
    ],
    ...['us-east-1', 'us-east-2', 'us-west-1', 'us-west-2'],
  ],
  'aws-cn': ['cn-north-1', 'cn-northwest-1'],
  'aws-us-gov': ['us-gov-east-1', 'us-gov-west-1'],
}

/** What a region of a partition looks like. */
const regionPatterns: Readonly<Record<AwsPartition, RegExp>> = {
  aws: /^(?:af|ap|ca|eu|il|me|mx|sa|us)-[a-z]{4,12}-[0-9]{1,2}$/,
  'aws-cn': /^cn-[a-z]{4,12}-[0-9]{1,2}$/,
  'aws-us-gov': /^us-gov-[a-z]{4,12}-[0-9]{1,2}$/,
}

const suffixes: Readonly<Record<AwsPartition, readonly string[]>> = {
  aws: ['amazonaws.com', 'api.aws'],
  'aws-cn': ['amazonaws.com.cn', 'api.amazonwebservices.com.cn'],
  'aws-us-gov': ['amazonaws.com', 'api.aws'],
}

export function isAwsRegion(partition: AwsPartition, region: string): boolean {
  return regionPatterns[partition].test(region)
}

/** The region of each host at which STS may be asked. @param only these regions; else all that are known of the partition */
export function stsHosts(partition: AwsPartition, only?: readonly string[]): ReadonlyMap<string, string> {
  const hosts = new Map<string, string>()
  for (const region of only ?? regions[partition]) {
    for (const suffix of suffixes[partition]) {
      hosts.set(`sts.${region}.${suffix}`, region)
      hosts.set(`sts-fips.${region}.${suffix}`, region)
    }
    // Signed for this region, whatever region the caller is in.
    if (partition === 'aws' && region === 'us-east-1') hosts.set('sts.amazonaws.com', region)
  }
  return hosts
}

/** Where STS is asked in a region; undefined for what is none. */
export function stsHostOf(region: string): string | undefined {
  const partition = awsPartitions.find((one) => isAwsRegion(one, region))
  return partition === undefined ? undefined : `sts.${region}.${suffixes[partition][0]}`
}
