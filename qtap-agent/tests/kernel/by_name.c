// The program of own_bio.c in the way of .NET and Nim: it is linked with no OpenSSL, looks up its functions by name at run time, and its sessions use OpenSSL's own memory.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#define EACH(F) \
    F(BIO_new) F(BIO_read) F(BIO_s_mem) F(BIO_write) F(ERR_print_errors_fp) F(SSL_CTX_new) F(SSL_CTX_use_PrivateKey_file) F(SSL_CTX_use_certificate_file) \
    F(SSL_do_handshake) F(SSL_free) F(SSL_get_error) F(SSL_new) F(SSL_read) F(SSL_set_accept_state) F(SSL_set_bio) F(SSL_set_connect_state) F(SSL_write) F(TLS_method)
#define KEEP(name) static typeof(name) *kept_##name;
#define LOOK_UP(name) if (!(kept_##name = (typeof(name) *)dlsym(library, #name))) abort();
EACH(KEEP)

// libssl.so.3 brings libcrypto.so.3, where the other half of them is.
static __attribute__((constructor)) void look_up(void) {
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    if (!library) library = dlopen("libssl.so.1.1", RTLD_NOW);
    if (!library) exit(77);
    EACH(LOOK_UP)
}

#define BIO_new kept_BIO_new
#define BIO_read kept_BIO_read
#define BIO_s_mem kept_BIO_s_mem
#define BIO_write kept_BIO_write
#define ERR_print_errors_fp kept_ERR_print_errors_fp
#define SSL_CTX_new kept_SSL_CTX_new
#define SSL_CTX_use_PrivateKey_file kept_SSL_CTX_use_PrivateKey_file
#define SSL_CTX_use_certificate_file kept_SSL_CTX_use_certificate_file
#define SSL_do_handshake kept_SSL_do_handshake
#define SSL_free kept_SSL_free
#define SSL_get_error kept_SSL_get_error
#define SSL_new kept_SSL_new
#define SSL_read kept_SSL_read
#define SSL_set_accept_state kept_SSL_set_accept_state
#define SSL_set_bio kept_SSL_set_bio
#define SSL_set_connect_state kept_SSL_set_connect_state
#define SSL_write kept_SSL_write
#define TLS_method kept_TLS_method
#define MEMORY_OF_OPENSSL
#include "own_bio.c"
