/** Cassandra's own nodetool out of its jars, for a node that has a JMX port. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CassandraParts, moduleFlags } from './cassandra.ts'

/** As one command of the shell; what is to be done comes behind it. It keeps its own files in the node's folder. */
export function nodetoolCommand(dataDir: string, jmxPort: number, { java, jarsDir }: CassandraParts): string {
  const home = join(dataDir, 'nodetool')
  mkdirSync(home, { recursive: true })
  const quiet = join(home, 'logback.xml')
  writeFileSync(quiet, '<configuration><root level="OFF"/></configuration>')
  const words = [
    java,
    ...moduleFlags,
    '-XX:TieredStopAtLevel=1',
    '-XX:+UseSerialGC',
    '-Xmx96m',
    `-Duser.home=${home}`,
    `-Dlogback.configurationFile=${quiet}`,
    '-cp',
    join(jarsDir, '*'),
    'org.apache.cassandra.tools.NodeTool',
    '-h',
    '127.0.0.1',
    '-p',
    String(jmxPort),
  ]
  return words.map((word) => `'${word}'`).join(' ')
}
