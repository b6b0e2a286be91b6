/**
 * What starts processes for the agent (perl, with requests on descriptor 0 and replies on 1): it is small, and a copy of it is
 * made in a fraction of a millisecond, where a copy of the agent takes several, and as long again for the pages it writes next.
 *
 * A request is its length in four bytes and fields that end in NUL: `start ID DIRECTORY OUT ERR UID GID COUNT COMMAND… ENV…`
 * or `open PID` or `shut PID`. A reply is a line: `pid ID PID`, `failed ID CODE [FILE]` or `exit PID CODE SIGNAL`. OUT and ERR are
 * made, with their directories, by this program beside the agent, which has enough to do. What was started waits until it is
 * opened; shut, it leaves instead of running. When the agent ends, this ends, and what still waits leaves. Nothing is waited
 * for before it is opened or shut, so that its pid is its own for as long as the agent writes it down.
 *
 * SIGCHLD is blocked but for the wait in `select`, and handled there and then, so that none is missed.
 */
export const SPAWNER_SCRIPT = `
use strict;
$0 = 'hop3-spawner';
use POSIX qw(:signal_h :sys_wait_h :fcntl_h :errno_h);
my ($input, %gates, %living) = ('');
pipe(my $woken, my $wake) or die;
my $chld = POSIX::SigSet->new(SIGCHLD);
my $noting = POSIX::SigAction->new(sub { syswrite $wake, '.' }, POSIX::SigSet->new, SA_NOCLDSTOP);
$noting->safe(0);
sigprocmask(SIG_BLOCK, $chld);
sigaction(SIGCHLD, $noting);
sub say_so { syswrite STDOUT, "@_\\n" }
sub made {
  my ($directory) = @_;
  return 1 if mkdir $directory, 0700 or $! == EEXIST;
  return $! == ENOENT && $directory =~ m{^(.+)/} && made("$1") && mkdir $directory, 0700;
}
# Appending, so that truncation takes effect; its user's own, since some programs open /dev/stderr anew.
sub output {
  my ($file, $uid, $gid) = @_;
  my $how = O_WRONLY | O_APPEND | O_CREAT;
  my $to;
  sysopen $to, $file, $how, 0600
    or $! == ENOENT && $file =~ m{^(.+)/} && made("$1") && sysopen $to, $file, $how, 0600
    or return;
  return $uid eq '' || chown($uid, $gid, $to) ? $to : undef;
}
sub start {
  my ($id, $directory, $out, $err, $uid, $gid, $count, @rest) = @_;
  my @command = splice @rest, 0, $count;
  my $stdout = output($out, $uid, $gid) or return say_so('failed', $id, $!+0, $out);
  my $stderr = output($err, $uid, $gid) or return say_so('failed', $id, $!+0, $err);
  pipe(my $gate, my $opener) or return say_so('failed', $id, $!+0);
  my $pid = fork;
  return say_so('failed', $id, $!+0) unless defined $pid;
  if ($pid) {
    close $gate;
    $gates{$pid} = $opener;
    return say_so('pid', $id, $pid);
  }
  # Whoever holds another's opener keeps it waiting when this program is gone.
  close $_ for $opener, values %gates;
  POSIX::setsid();
  open STDIN, '<', '/dev/null' and open STDOUT, '>&', $stdout and open STDERR, '>&', $stderr or POSIX::_exit(125);
  if ($uid ne '') {
    $) = "$gid $gid";
    POSIX::setgid($gid) and POSIX::setuid($uid) or POSIX::_exit(125);
  }
  %ENV = map { split /=/, $_, 2 } @rest;
  $SIG{CHLD} = 'DEFAULT';
  sigprocmask(SIG_UNBLOCK, $chld);
  sysread $gate, my $go, 1 or POSIX::_exit(125);
  chdir $directory and exec { $command[0] } @command;
  syswrite STDERR, "hop3: can't run $command[0] in $directory: $!\n";
  POSIX::_exit(126);
}
sub let_go {
  my ($may_run, $pid) = @_;
  my $opener = delete $gates{$pid} or return;
  local $SIG{PIPE} = 'IGNORE';
  syswrite $opener, '.' if $may_run;
  close $opener;
  $living{$pid} = 1;
  reap();
}
sub reap {
  for my $pid (keys %living) {
    next if waitpid($pid, WNOHANG) != $pid;
    delete $living{$pid};
    say_so('exit', $pid, WIFEXITED($?) ? WEXITSTATUS($?) : '-', WIFSIGNALED($?) ? WTERMSIG($?) : '-');
  }
}
for (;;) {
  my $ready = '';
  vec($ready, $_, 1) = 1 for 0, fileno $woken;
  sigprocmask(SIG_UNBLOCK, $chld);
  my $found = select $ready, undef, undef, undef;
  sigprocmask(SIG_BLOCK, $chld);
  next if $found <= 0;
  if (vec $ready, fileno $woken, 1) {
    sysread $woken, my $dots, 4096;
    reap();
  }
  next unless vec $ready, 0, 1;
  sysread STDIN, $input, 65536, length $input or exit;
  while (length $input >= 4 and length $input >= 4 + unpack 'N', $input) {
    my ($what, @fields) = split /\\0/, substr(substr($input, 0, 4 + unpack('N', $input), ''), 4), -1;
    pop @fields;
    $what eq 'start' ? start(@fields) : let_go($what eq 'open', @fields);
  }
}
`;
