/* What is new: socket, bind, listen, accept, send, close: it greets each client, and hangs up.
 * Run: ./1-greet    and in another terminal: nc 127.0.0.1 9001
 * What breaks it: a short write, a reset, a restart within a minute; and it does not answer. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *call) {
    perror(call);
    exit(1);
}

int main(void) {
    const char greeting[] = "欢迎访问服务器!\n"; /* "Welcome to the server!" */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9001)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* 127.0.0.1 */
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0)
        die("socket");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(listener, 5) < 0)
        die("listen");
    printf("listening on 127.0.0.1:9001\n");
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            die("accept");
        if (send(client, greeting, strlen(greeting), 0) < 0)
            die("send");
        close(client);
    }
}
