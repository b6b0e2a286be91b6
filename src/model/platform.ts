/** Whether what was built for a platform (null = any) runs on a node: one for `linux-x64` does on every `linux-x64-…`. */
export function runsOn(built: string | null, platform: string): boolean {
  return built === null || built === platform || platform.startsWith(`${built}-`);
}
