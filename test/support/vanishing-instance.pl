# A web server that answers with its first argument, until a line comes on its stdin: from then on it is as if its machine
# was gone. A filter on each of its sockets drops what arrives before the kernel acknowledges it, connections that are
# asked for among it. Some kernels let only root do that: then it says so, and ends.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET);

use constant SO_ATTACH_FILTER => 26;
# BPF: return 0, the number of bytes to keep.
my $nothing = pack('S C C L', 0x06, 0, 0, 0);
my $filter  = pack('S x![P] P', 1, $nothing);

my ($name) = @ARGV;
my $answer = "HTTP/1.1 200 OK\r\nContent-Length: " . length($name) . "\r\n\r\n$name";
my $listener = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1', ReuseAddr => 1)
  or die "cannot listen: $!";
my $sockets = IO::Select->new($listener, \*STDIN);
$| = 1;
print $listener->sockport, "\n";

while (1) {
    for my $ready ($sockets->can_read) {
        if ($ready == $listener) {
            $sockets->add($listener->accept);
        } elsif ($ready == \*STDIN) {
            exit unless sysread(STDIN, my $order, 100);
            for my $socket (grep { $_ != \*STDIN } $sockets->handles) {
                next if setsockopt($socket, SOL_SOCKET, SO_ATTACH_FILTER, $filter);
                print "no filter: $!\n";
                exit 1;
            }
            print "gone\n";
        } elsif (sysread($ready, my $asked, 65536)) {
            # Nobody sends the next request before the answer to the last.
            syswrite($ready, $answer);
        } else {
            $sockets->remove($ready);
            close $ready;
        }
    }
}
